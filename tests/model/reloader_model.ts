// What src/reload/reloader.ts promises to whoever asks for a reload: one load at a time, one more for all who ask
// meanwhile, a state that only gets what may serve, and a certificate whose validity lies ahead as soon as it is valid.
// Steps that begin with a dot happen by themselves.
import type { Model } from "./explore.ts";

/** What a source may hold: nothing that loads, or a certificate that is valid, has expired, or is not valid yet. */
export type Content = "broken" | "first" | "second" | "expired" | "ahead";

export type Outcome = "swapped" | "unchanged" | "pending" | "rejected";

/** Somebody who asked for a reload, when the source held its n-th content. */
interface Request {
  readonly since: number;
  readonly force: boolean;
  outcome?: Outcome;
}

/** A load with all that follows from it. */
interface Run {
  readonly force: boolean;
  readonly requests: readonly number[];
  /** What the source held when it was read, and as how many-th. */
  readonly content: Content;
  readonly since: number;
  is: "loading" | "loaded" | "over";
}

/** What there is to know about a reloader. */
export interface ReloaderState {
  content: Content;
  /** How often the source has changed. */
  changes: number;
  current: Content;
  /** The time has come at which the certificate that lay ahead is valid. */
  hasBegun: boolean;
  /** Whether that certificate waits for the time. */
  isPending: boolean;
  runs: Run[];
  queued: { force: boolean; readonly requests: number[] } | null;
  readonly requests: Request[];
  /** What the last load gave that succeeded, and how many have been rejected since. */
  loaded: Content | null;
  failures: number;
  loads: number;
  /** The outcomes that were told; rejections and delays in a row only once for each content. */
  told: number;
  lastTold: string | null;
  lastOutcome: Outcome | null;
  /** How many had asked when it was closed. */
  closedAfter: number | null;
  /** They have been answered, so that nothing waits any more. */
  isDown: boolean;
  /** What is served already has been swapped in. */
  isVain: boolean;
  /** A certificate out of its validity has taken the place of a valid one. */
  isWorse: boolean;
  /** A certificate that waited was swapped in, though the source held another one when it was last loaded. */
  isStale: boolean;
}

/** The rules; each can be left out, to see that it is missed. */
export const RELOADER_RULES = [
  "one load at a time",
  "who asks meanwhile gets another run",
  "the next run begins after the one before",
  "who forces is not forgotten among others",
  "an expired certificate replaces no valid one",
  "a certificate ahead replaces no valid one",
  "what waits is swapped in when it becomes valid",
  "another certificate discards what waits",
  "what waits is discarded at the end",
  "a failure changes nothing",
  "what is served already is no swap",
  "a rejection counts until the next success",
] as const;

/** How far to explore, and what of the protocol to leave out. */
export interface ReloaderBounds {
  readonly requests: number;
  readonly changes: number;
  readonly contents: readonly Content[];
  readonly without?: typeof RELOADER_RULES[number];
}

/** The machine. */
export function reloaderModel({ requests, changes, contents, without }: ReloaderBounds): Model<ReloaderState> {
  const has = (rule: typeof RELOADER_RULES[number]) => rule !== without;

  function steps(state: ReloaderState): string[] {
    const mayAsk = state.requests.length < requests;
    const isAnswered = state.closedAfter !== null && answered(state);
    return [
      ...(state.hasBegun && state.isPending ? [". swap"] : []),
      ...(isAnswered && !state.isDown ? [". settle"] : []),
      ...state.runs.flatMap(({ is }, index) =>
        is === "loading" ? [] : [is === "loaded" ? `. judge ${index}` : `. end ${index}`]
      ),
      ...(state.runs.length === 0 && state.queued ? [". begin"] : []),
      ...state.runs.flatMap(({ is }, index) => is === "loading" ? [`load ${index} ends`] : []),
      ...(mayAsk ? ["reload", "reload by force"] : []),
      ...(state.changes < changes
        ? contents.filter((each) => each !== state.content).map((each) => `source: ${each}`)
        : []),
      ...(contents.includes("ahead") && !state.hasBegun ? ["the validity begins"] : []),
      ...(state.closedAfter === null ? ["close"] : []),
    ];
  }

  function take(state: ReloaderState, step: string): void {
    const run = state.runs[Number(/\d+/.exec(step)?.[0])]!;
    if (step.startsWith("source: ")) {
      state.content = step.slice("source: ".length) as Content;
      state.changes++;
    } else if (step.startsWith("reload")) ask(state, step.endsWith("force"));
    else if (step === ". begin") {
      const { force, requests } = state.queued!;
      state.queued = null;
      begin(state, force, requests);
    } else if (step.startsWith("load")) run.is = "loaded";
    else if (step.startsWith(". judge")) judge(state, run);
    else if (step.startsWith(". end")) state.runs = state.runs.filter((each) => each !== run);
    else if (step === "the validity begins") begins(state);
    else if (step === ". swap") swapWaiting(state);
    else if (step === ". settle") settle(state);
    else {
      state.closedAfter = state.requests.length;
      if (has("what waits is discarded at the end")) state.isPending = false;
    }
  }

  function begins(state: ReloaderState): void {
    state.hasBegun = true;
    if (!has("what waits is swapped in when it becomes valid")) state.isPending = false;
  }

  function swapWaiting(state: ReloaderState): void {
    state.isPending = false;
    state.isStale ||= state.loaded !== "ahead";
    state.current = "ahead";
    state.told++;
  }

  function settle(state: ReloaderState): void {
    state.isDown = true;
    if (has("what waits is discarded at the end")) state.isPending = false;
  }

  function ask(state: ReloaderState, force: boolean): void {
    const id = state.requests.push({ since: state.changes, force }) - 1;
    const [running] = state.runs;
    if (!running || !has("one load at a time")) return begin(state, force, [id]);
    if (!has("who asks meanwhile gets another run")) return;
    if (!has("the next run begins after the one before")) {
      // Who asks during a run is given the outcome of that run.
      if (running.is !== "over") (running.requests as number[]).push(id);
      else begin(state, force, [id]);
      return;
    }
    state.queued ??= { force: false, requests: [] };
    state.queued.requests.push(id);
    if (has("who forces is not forgotten among others")) state.queued.force ||= force;
  }

  function begin(state: ReloaderState, force: boolean, requests: readonly number[]): void {
    state.loads++;
    state.runs.push({ force, requests, content: state.content, since: state.changes, is: "loading" });
  }

  function judge(state: ReloaderState, run: Run): void {
    const { content, force } = run;
    if (content !== "broken") {
      state.loaded = content;
      if (content !== "ahead" && has("another certificate discards what waits")) state.isPending = false;
    }
    const outcome = outcomeOf(state, run);
    if (outcome === "swapped") {
      state.isWorse ||= !isValid(content, state) && isValid(state.current, state) && !force;
      state.isVain ||= content === state.current;
    }
    if (outcome === "swapped" || !has("a failure changes nothing")) state.current = content;
    if (content === "ahead") state.isPending = outcome === "pending";
    if (outcome !== "rejected") state.failures = 0;
    else if (has("a rejection counts until the next success")) state.failures++;
    state.lastOutcome = outcome;
    tell(state, outcome === "rejected" || outcome === "pending" ? content : null);
    for (const id of run.requests) state.requests[id]!.outcome = outcome;
    run.is = "over";
  }

  function outcomeOf(state: ReloaderState, { content, force }: Run): Outcome {
    const { current } = state;
    if (content === "broken") return "rejected";
    if (content === current && has("what is served already is no swap")) return "unchanged";
    if (force || isValid(content, state) || !isValid(current, state)) return "swapped";
    if (content === "ahead") return has("a certificate ahead replaces no valid one") ? "pending" : "swapped";
    return has("an expired certificate replaces no valid one") ? "rejected" : "swapped";
  }

  function tell(state: ReloaderState, repeatable: string | null): void {
    if (repeatable === null || repeatable !== state.lastTold) state.told++;
    state.lastTold = repeatable;
  }

  const initial: ReloaderState = {
    content: "first",
    changes: 0,
    current: "first",
    hasBegun: false,
    isPending: false,
    runs: [],
    queued: null,
    requests: [],
    loaded: null,
    failures: 0,
    loads: 0,
    told: 0,
    lastTold: null,
    lastOutcome: null,
    closedAfter: null,
    isDown: false,
    isVain: false,
    isWorse: false,
    isStale: false,
  };
  return { initial, steps, take, flaw: flawOf };
}

/** Whether what is served is what the source held when it was last read; `undefined` before it was. */
export function isInSync({ loads, loaded, current, failures }: ReloaderState): boolean | undefined {
  return loads === 0 ? undefined : loaded === current && failures === 0;
}

/** Whether everybody has been answered who had asked when it was closed. */
function answered({ requests, closedAfter }: ReloaderState): boolean {
  return requests.slice(0, closedAfter ?? undefined).every(({ outcome }) => outcome);
}

function isValid(content: Content, { hasBegun }: ReloaderState): boolean {
  return content === "first" || content === "second" || (content === "ahead" && hasBegun);
}

/** DESIGN section 4, rules 3 and 4, and what Reloader.reload() says of itself. */
function flawOf(state: ReloaderState): string | undefined {
  const { runs, queued, requests, current, loads, lastOutcome, isVain, isWorse, isStale } = state;
  const isIdle = runs.length === 0 && queued === null;
  if (runs.filter(({ is }) => is === "loading").length > 1) return "two loads at once";
  if (current === "broken") return "what cannot be loaded is served";
  if (isWorse) return "a certificate out of its validity has replaced a valid one";
  if (isStale) return "a certificate is served that the source holds no more";
  if (state.isDown && state.isPending && isIdle && requests.length === state.closedAfter) {
    return "something waits for ever";
  }
  const isMissed = state.hasBegun && !state.isPending && state.loaded === "ahead" && current !== "ahead";
  if (isIdle && isMissed && state.closedAfter === null) return "a certificate has become valid and is not served";
  if (isIdle && requests.some(({ outcome }) => !outcome)) return "somebody waits for ever";
  const late = runs.find(({ since, requests: ids }) => ids.some((id) => requests[id]!.since > since));
  if (late) return "somebody gets what the source held before";
  const forced = runs.find(({ force, requests: ids }) => !force && ids.some((id) => requests[id]!.force));
  if (forced) return "somebody forces in vain";
  if (loads > requests.length) return "more loads than anybody asked for";
  if (isVain) return "what is served was swapped in again";
  if (isIdle && isInSync(state) && lastOutcome === "rejected") return "in sync after a rejection";
  return undefined;
}
