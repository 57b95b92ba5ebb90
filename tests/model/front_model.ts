// The protocol of generations, as src/native/front.ts has it: by which configuration a connection is served, and when
// a backend is closed. Steps that begin with a dot happen by themselves, in any order with all others: they are the
// turns of promises and events, and a swap or a connection may come between any two of them.
import type { Model } from "./explore.ts";

/** A connection: which generation was the newest when it was accepted, and which one it got. */
interface Client {
  phase: "waiting" | "served" | "ended";
  readonly since: number;
  /** The start that it waits for. */
  awaits?: number;
  by?: number;
  /** The peer has closed it, and we have not heard of it yet. */
  isGone?: true;
}

/** A start that is under way, or has come to something that is not dealt with yet. */
interface Attempt {
  readonly of: number;
  is: "starting" | "started" | "failed" | "over";
}

/** What there is to know about a front. Generations are numbers. */
export interface FrontState {
  /** The generation of the state. */
  newest: number;
  /** The newest one that was tried. */
  tried: number;
  /** The one that gets the next connection. */
  serving: number;
  attempts: Attempt[];
  readonly clients: Client[];
  readonly started: number[];
  readonly failed: number[];
  readonly closed: number[];
  /** Those that were told to refuse strangers. */
  readonly guarded: number[];
  /** A start has failed, and there will be another. */
  isToRetry: boolean;
  isOpen: boolean;
  isClosed: boolean;
  isFinished: boolean;
}

/** The rules of the protocol; each can be left out, to see that it is missed. */
export const FRONT_RULES = [
  "catches up before it accepts",
  "connections wait for a newer generation",
  "who waits waits on while there is a newer one",
  "one start at a time",
  "goes on to what has become the newest meanwhile",
  "what fails leaves the last one serving",
  "what fails is tried again",
  "nothing is tried again after the end",
  "a generation with connections stays",
  "the one that serves stays",
  "the last connection of a replaced generation closes it",
  "a replaced generation without connections is closed at once",
  "who waits is dropped at the end",
  "what starts after the end is closed",
  "the end waits for a start",
  "nothing is closed twice",
  "strangers are refused from the swap on",
] as const;

/** How far to explore, and what of the protocol to leave out. */
export interface FrontBounds {
  readonly swaps: number;
  readonly clients: number;
  /** The connections of a generation are cut as soon as it is replaced, as `graceMs` does after a while. */
  readonly drains?: boolean;
  /** What has failed is tried again. */
  readonly retries?: boolean;
  readonly without?: typeof FRONT_RULES[number];
}

/** The machine. */
export function frontModel(
  { swaps, clients, drains = false, retries = false, without }: FrontBounds,
): Model<FrontState> {
  const has = (rule: typeof FRONT_RULES[number]) => rule !== without;
  const mayWait = has("connections wait for a newer generation");

  function steps(state: FrontState): string[] {
    const { attempts, isOpen, isClosed } = state;
    const accepts = !isClosed && (isOpen || !has("catches up before it accepts"));
    return [
      ...(isOpen ? [] : [". open"]),
      ...attempts.flatMap(({ of, is }) => {
        if (is === "starting") return [`start of ${of} succeeds`, `start of ${of} fails`];
        return is === "over" ? [`. go on after ${of}`] : [`. take up ${of}`];
      }),
      ...state.clients.flatMap((client, id) => {
        if (client.phase === "ended") return [];
        return [
          ...(client.phase === "waiting" && !hasToWait(state, client) ? [`. wake ${id}`] : []),
          client.isGone ? `. end ${id}` : `leave ${id}`,
        ];
      }),
      // A timer, so never between the turns of a promise.
      ...(retries && state.isToRetry && attempts.length === 0 ? ["retry"] : []),
      ...(state.newest < swaps ? ["swap"] : []),
      ...(accepts && state.clients.length < clients ? ["accept"] : []),
      ...(isOpen && !isClosed ? ["close", "destroy"] : []),
    ];
  }

  function take(state: FrontState, step: string): void {
    const [, verb, number] = /^(?:\. )?([a-z ]+?)(?: (\d+))?(?: succeeds| fails)?$/.exec(step)!;
    const attempt = state.attempts.find(({ of }) => of === Number(number))!;
    const client = state.clients[Number(number)]!;
    switch (verb) {
      case "open":
        state.isOpen = true;
        return advance(state);
      case "swap":
        state.newest++;
        return advance(state);
      case "accept":
        return accept(state);
      case "start of":
        attempt.is = step.endsWith("succeeds") ? "started" : "failed";
        return;
      case "take up":
        return takeUp(state, attempt);
      case "go on after":
        state.attempts = state.attempts.filter((each) => each !== attempt);
        if (has("goes on to what has become the newest meanwhile")) advance(state);
        return finish(state);
      case "retry":
        return attemptNewest(state);
      case "wake":
        return serve(state, client);
      case "leave":
        client.isGone = true;
        return;
      case "end":
        return end(state, client);
      default:
        return close(state, verb === "destroy");
    }
  }

  function advance(state: FrontState): void {
    if (!state.isOpen || state.isClosed || state.tried >= state.newest) return;
    if (has("strangers are refused from the swap on") && !state.guarded.includes(state.serving)) {
      state.guarded.push(state.serving);
    }
    attemptNewest(state);
  }

  function attemptNewest(state: FrontState): void {
    state.isToRetry = false;
    if (state.attempts.length > 0 && has("one start at a time")) return;
    state.attempts.push({ of: state.newest, is: "starting" });
  }

  function accept(state: FrontState): void {
    const client: Client = { phase: "waiting", since: state.newest };
    state.clients.push(client);
    const attempt = state.attempts.at(-1);
    if (state.tried < state.newest && attempt && mayWait) client.awaits = attempt.of;
    else serve(state, client);
  }

  function hasToWait({ tried, attempts }: FrontState, { since, awaits }: Client): boolean {
    if (!has("who waits waits on while there is a newer one")) return attempts.some(({ of }) => of === awaits);
    return tried < since && attempts.length > 0;
  }

  function serve(state: FrontState, client: Client): void {
    client.phase = "served";
    client.by = state.serving;
    delete client.awaits;
  }

  function takeUp(state: FrontState, attempt: Attempt): void {
    const { of, is } = attempt;
    attempt.is = "over";
    state.tried = of;
    if (is === "failed") {
      if (!state.failed.includes(of)) state.failed.push(of);
      const isLate = state.isClosed && has("nothing is tried again after the end");
      state.isToRetry = has("what fails is tried again") && !isLate;
      if (!has("what fails leaves the last one serving")) state.serving = of;
      return;
    }
    const previous = state.serving;
    state.started.push(of);
    state.serving = of;
    if (drains) cut(state, previous);
    if (has("a replaced generation without connections is closed at once")) release(state, previous);
    if (has("what starts after the end is closed")) release(state, of);
  }

  function end(state: FrontState, client: Client): void {
    client.phase = "ended";
    const { by } = client;
    if (by !== undefined && has("the last connection of a replaced generation closes it")) release(state, by);
  }

  function close(state: FrontState, cuts: boolean): void {
    state.isClosed = true;
    if (has("nothing is tried again after the end")) state.isToRetry = false;
    for (const client of state.clients.filter(({ phase }) => phase === "waiting")) {
      client.isGone = true;
      if (has("who waits is dropped at the end")) client.phase = "ended";
    }
    for (const generation of living(state)) {
      if (cuts) cut(state, generation);
      release(state, generation);
    }
  }

  function cut(state: FrontState, generation: number): void {
    for (const client of heldBy(state, generation)) client.isGone = true;
  }

  function release(state: FrontState, generation: number): void {
    if (heldBy(state, generation).length > 0 && has("a generation with connections stays")) return;
    if (generation === state.serving && !state.isClosed && has("the one that serves stays")) return;
    if (state.closed.includes(generation) && has("nothing is closed twice")) return;
    state.closed.push(generation);
    finish(state);
  }

  function finish(state: FrontState): void {
    const isStarting = state.attempts.length > 0 && has("the end waits for a start");
    if (state.isClosed && living(state).length === 0 && !isStarting) state.isFinished = true;
  }

  const initial: FrontState = {
    newest: 0,
    tried: 0,
    serving: 0,
    attempts: [],
    clients: [],
    started: [0],
    failed: [],
    closed: [],
    guarded: [],
    isToRetry: false,
    isOpen: false,
    isClosed: false,
    isFinished: false,
  };
  return { initial, steps, take, flaw: (state) => flawOf(state, !steps(state).some((step) => step.startsWith("."))) };
}

/** The generations whose backends are open, the oldest first. */
export function living({ started, closed }: FrontState): number[] {
  return started.filter((generation) => !closed.includes(generation));
}

/** The connections of one of them. */
export function heldBy({ clients }: FrontState, generation: number): Client[] {
  return clients.filter(({ phase, by }) => phase === "served" && by === generation);
}

/** DESIGN section 4, rules 4 and 5, and what follows from them. At rest nothing happens but from without. */
function flawOf(state: FrontState, atRest: boolean): string | undefined {
  const {
    newest,
    serving,
    attempts,
    clients,
    started,
    failed,
    closed,
    guarded,
    isToRetry,
    isOpen,
    isClosed,
    isFinished,
  } = state;
  const alive = living(state);
  const isIdle = atRest && attempts.length === 0;
  const isStale = ({ since, by = since }: Client) => by < since && !failed.some((generation) => generation >= since);
  if (clients.some(isStale)) return "a connection got an old generation";
  if (clients.some(({ by = 0 }) => !started.includes(by))) return "a failed generation serves";
  if (closed.some((generation) => heldBy(state, generation).length > 0)) return "closed with connections";
  if (new Set(closed).size < closed.length) return "closed twice";
  if (!isClosed && closed.includes(serving)) return "the one that serves is closed";
  if (alive.some((each) => (each !== serving || isClosed) && heldBy(state, each).length === 0)) {
    return "open without connections";
  }
  if (atRest && isClosed && clients.some(({ phase }) => phase === "waiting")) return "waits after the end";
  if (isIdle && clients.some(({ phase }) => phase === "waiting")) return "waits for ever";
  if (isIdle && isOpen && !isClosed && ![...started, ...failed].includes(newest)) return "the newest was not tried";
  if (isIdle && serving !== Math.max(...started)) return "another serves than the newest that started";
  if (isIdle && isClosed && clients.every(({ phase }) => phase === "ended") && !(isFinished && alive.length === 0)) {
    return "something is left at the end";
  }
  if (isIdle && isOpen && !isClosed && !started.includes(newest) && !isToRetry) return "what failed is given up";
  if (isClosed && isToRetry) return "a timer is left at the end";
  if (isFinished && attempts.length > 0) return "finished while one starts";
  if (isFinished && clients.some(({ phase }) => phase !== "ended")) return "finished with connections";
  if (atRest && isOpen && !isClosed && alive.some((each) => each < newest && !guarded.includes(each))) {
    return "strangers may enter an old generation";
  }
  return undefined;
}
