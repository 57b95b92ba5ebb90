/**
 * A protocol as a machine: plain data and the steps that change it. Everything that can come next in a state, from
 * without or from within, is a step; all orders of them are explored. Steps from within have names with a dot in front.
 */
export interface Model<State> {
  /** Where it starts. */
  readonly initial: State;
  /** The steps that may come next, by their names. */
  steps(state: State): readonly string[];
  /** Takes one of them: changes the state. */
  take(state: State, step: string): void;
  /** What is wrong with a state, or `undefined`. */
  flaw(state: State): string | undefined;
}

const isInner = (step: string) => step.startsWith(".");

/** Where a machine may come to rest if a step from without is taken between any two of those from within. */
export function rests<State>(model: Model<State>, from: State, step: string): State[] {
  const rests = new Map<string, State>();
  const seen = new Set<string>();
  const follow = (state: State, isTaken: boolean) => {
    const key = `${isTaken} ${JSON.stringify(state)}`;
    if (seen.has(key)) return;
    seen.add(key);
    const inner = model.steps(state).filter(isInner);
    if (inner.length === 0 && isTaken) rests.set(key, state);
    for (const next of isTaken ? inner : [...inner, step]) {
      const copy = structuredClone(state);
      model.take(copy, next);
      follow(copy, isTaken || next === step);
    }
  };
  follow(from, false);
  return [...rests.values()];
}

/** The same machine as it is seen from without: after each step it comes to rest before the next one. */
export function resting<State>(model: Model<State>): Model<State> {
  const rest = (state: State) => {
    for (let step; (step = model.steps(state).find(isInner));) model.take(state, step);
    return state;
  };
  return {
    initial: rest(structuredClone(model.initial)),
    steps: (state) => model.steps(state).filter((step) => !isInner(step)),
    take: (state, step) => {
      model.take(state, step);
      rest(state);
    },
    flaw: (state) => model.flaw(state),
  };
}

/** A way into a flaw: none is shorter. */
export interface Counterexample {
  readonly flaw: string;
  readonly trace: readonly string[];
}

/** What a search has seen. */
export interface Exploration {
  readonly states: number;
  readonly transitions: number;
  /** How many steps the farthest state is away. */
  readonly depth: number;
  readonly counterexample: Counterexample | undefined;
}

/** Explores every state that can be reached, breadth first, up to the first flaw. */
export function explore<State>(model: Model<State>): Exploration {
  const first = JSON.stringify(model.initial);
  const cameBy = new Map<string, { readonly from: string; readonly step: string } | undefined>([[first, undefined]]);
  const traceTo = (key: string): string[] => {
    const trace: string[] = [];
    for (let by = cameBy.get(key); by; by = cameBy.get(by.from)) trace.unshift(by.step);
    return trace;
  };
  let transitions = 0;
  let depth = -1;
  for (let level = [first]; level.length > 0; depth++) {
    const next: string[] = [];
    for (const key of level) {
      const state: State = JSON.parse(key);
      const flaw = model.flaw(state);
      if (flaw) {
        return { states: cameBy.size, transitions, depth: depth + 1, counterexample: { flaw, trace: traceTo(key) } };
      }
      for (const step of model.steps(state)) {
        transitions++;
        const copy: State = JSON.parse(key);
        model.take(copy, step);
        const reached = JSON.stringify(copy);
        if (cameBy.has(reached)) continue;
        cameBy.set(reached, { from: key, step });
        next.push(reached);
      }
    }
    level = next;
  }
  return { states: cameBy.size, transitions, depth, counterexample: undefined };
}

/** Walks that start anew each time and together take every step of every state: what a test replays. */
export function tours<State>(model: Model<State>): string[][] {
  const first = JSON.stringify(model.initial);
  const edges = new Map<string, Map<string, string>>();
  const edgesOf = (key: string) => {
    if (!edges.has(key)) {
      const state: State = JSON.parse(key);
      edges.set(
        key,
        new Map(
          model.steps(state).map((step) => {
            const copy: State = JSON.parse(key);
            model.take(copy, step);
            return [step, JSON.stringify(copy)];
          }),
        ),
      );
    }
    return edges.get(key)!;
  };
  const taken = new Set<string>();
  const isNew = (key: string, step: string) => !taken.has(`${key} ${step}`);
  /** The shortest way from a state to a step that has not been taken, that step included. */
  const wayOn = (start: string): string[] | undefined => {
    const ways = new Map<string, string[]>([[start, []]]);
    for (const [key, way] of ways) {
      for (const [step, reached] of edgesOf(key)) {
        if (isNew(key, step)) return [...way, step];
        if (!ways.has(reached)) ways.set(reached, [...way, step]);
      }
    }
    return undefined;
  };
  const walks: string[][] = [];
  for (let way = wayOn(first); way; way = wayOn(first)) {
    const walk: string[] = [];
    for (let key = first; way; way = wayOn(key)) {
      for (const step of way) {
        taken.add(`${key} ${step}`);
        key = edgesOf(key).get(step)!;
      }
      walk.push(...way);
    }
    walks.push(walk);
  }
  return walks;
}
