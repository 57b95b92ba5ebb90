import { drainLimits } from "../accept/drain_options.ts";
import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import type { Shared } from "../accept/tls_state.ts";
import { takesTrustAway } from "../accept/trust.ts";
import { EarliestTimer } from "../earliest_timer.ts";
import { guarded } from "../warnings.ts";
import type { CountedSockets } from "./connection_count.ts";
import { GenerationCounter } from "./generation_counter.ts";
import type { HandoffGeneration } from "./handoff_generation.ts";
import type { Generation, NativeServer } from "./native_server.ts";
import type { HandoffTools, PublicSocket } from "./public_socket.ts";

/** How often replaced generations are looked at. */
const LOOK_EVERY_MS = 100;
/** The pause between two slices of a count. */
const PAUSE_MS = 4;

/** The policy for the connections of a handoff. */
export type HandoffPolicy = Pick<Shared, "drain" | "drainTally">;

/**
 * The generations that hold connections, oldest first; the last one has the public socket, while it is not parked.
 *
 * Invariant: a generation leaves the list when no connection of the process carries a mark of its set, never earlier,
 * unless its drain is over. A generation's set only grows, so that a connection is counted for its generation whenever
 * it was made; marks that two generations have hold both. While nothing was replaced or closed, nothing is looked at.
 */
export class HandoffGenerations<Server extends NativeServer> {
  readonly #tools: HandoffTools;
  readonly #report: (error: unknown) => void;
  readonly #list: HandoffGeneration<Server>[] = [];
  /** Which connections of older generations end, and what counts them. */
  policy: HandoffPolicy;
  readonly #empty = Promise.withResolvers<void>();
  readonly #ending = new Set<Promise<void>>();
  readonly #counter: GenerationCounter<Server>;
  #public: PublicSocket | undefined;
  readonly #timer = new EarliestTimer(() => this.#lookNow());
  #isClosed = false;

  constructor(tools: HandoffTools, policy: HandoffPolicy, report: (error: unknown) => void) {
    this.#tools = tools;
    this.#counter = new GenerationCounter(tools.kernel);
    this.policy = policy;
    this.#report = report;
  }

  /**
   * The state has another configuration. Generations whose clients may be refused by it end; the last one by force only
   * when another server has taken its place.
   */
  drainUntrusted(newest: TlsAcceptor): void {
    const isUntrusted = ({ acceptor }: HandoffGeneration<Server>) => takesTrustAway(acceptor.config, newest.config);
    this.#drain(isUntrusted, newest);
    for (const { server } of this.#list.filter(isUntrusted)) guarded(() => server.refuseRequests?.());
    this.#look(LOOK_EVERY_MS);
  }

  /** The generations, oldest first. */
  get list(): readonly HandoffGeneration<Server>[] {
    return this.#list;
  }

  /** Resolves when it has been closed, and all have ended. */
  get finished(): Promise<void> {
    return this.#empty.promise;
  }

  /** Adds a generation that has the public socket now. The last one is replaced. */
  add(generation: HandoffGeneration<Server>, publicSocket: PublicSocket): void {
    this.#public = publicSocket;
    this.#drain(({ acceptor }) => acceptor !== generation.acceptor, generation.acceptor);
    generation.own(publicSocket.queued.all);
    this.#list.push(generation);
    this.#look(LOOK_EVERY_MS);
  }

  /** No generation gets connections any more: each one ends with its last connection. */
  close(): void {
    this.#isClosed = true;
    this.#counter.hasten();
    this.#look(0);
  }

  /**
   * A server has ended, and with it its connections: once closed, nothing else may be left to keep the process running.
   */
  serverEnded(generation: HandoffGeneration<Server>): void {
    generation.phase = "ended";
    if (this.#isClosed) this.#end(generation);
  }

  /** Ends all of them at once. */
  endAll(): void {
    for (const generation of [...this.#list]) this.#end(generation);
  }

  /** How many connections each has: as of now if the descriptor table is small, else as of the last count. */
  counts(): Generation[] {
    this.#advanceCount();
    return this.#list.map(({ acceptor: { generation }, connections }) => ({ generation, connections }));
  }

  /** Looks after this time, unless a look is due earlier. */
  #look(afterMs: number): void {
    if (this.#leaving.length > 0) return this.#timer.schedule(afterMs);
    this.#timer.cancel();
    this.#finish();
  }

  get #leaving(): HandoffGeneration<Server>[] {
    return this.#isClosed ? [...this.#list] : this.#list.slice(0, -1);
  }

  /** The generations whose drain is over. */
  get #due(): HandoffGeneration<Server>[] {
    const now = performance.now();
    return this.#leaving.filter(({ forcedAt }) => forcedAt <= now);
  }

  #lookNow(): void {
    this.#public?.settle();
    const isDue = this.#due.length > 0;
    const isCounting = this.#counter.isCounting;
    if (isDue || isCounting || this.#counter.mayFindEmpty(this.#leaving, this.#sockets)) this.#advanceCount();
    const untilForce = Math.min(...this.#leaving.map(({ forcedAt }) => forcedAt)) - performance.now();
    this.#look(this.#counter.isCounting ? PAUSE_MS : Math.max(0, Math.min(LOOK_EVERY_MS, untilForce)));
  }

  get #sockets(): CountedSockets {
    const ports = new Set(this.#list.map(({ port }) => port));
    if (this.#public) ports.add(this.#public.address.port);
    return { ports, marks: new Set(this.#list.flatMap(({ marks }) => [...marks])) };
  }

  #advanceCount(): void {
    if (!this.#counter.isCounting) this.#counter.begin(this.#sockets, this.#leaving);
    for (const generation of this.#counter.advance(this.#list)) this.#end(generation);
    if (this.#counter.isCounting) return this.#look(PAUSE_MS);
    // Counted first, because only what is left now is ended by force.
    for (const generation of this.#due) this.#end(generation);
  }

  /** Begins to end the connections of the generations that do not serve any more, as the policy says. */
  #drain(isReplaced: (generation: HandoffGeneration<Server>) => boolean, newest: TlsAcceptor): void {
    const { drain, drainTally } = this.policy;
    const limitsOf = (generation: HandoffGeneration<Server>) => {
      if (generation.server.knowsClients || !isReplaced(generation)) return undefined;
      return drainLimits(drain, takesTrustAway(generation.acceptor.config, newest.config));
    };
    if (!this.#list.some(limitsOf)) return;
    // Counted first, because idle connections may end at once.
    this.#advanceCount();
    for (const generation of this.#list) {
      const limits = limitsOf(generation);
      if (limits) generation.drain(limits, drainTally);
    }
  }

  #end(generation: HandoffGeneration<Server>): void {
    const index = this.#list.indexOf(generation);
    // A server that stops may call code of the user, which asks for the counts, and so ends what is to end next.
    if (index < 0) return;
    this.#list.splice(index, 1);
    generation.forceDrain();
    const inUse = new Set([...this.#list.flatMap(({ marks }) => [...marks]), ...this.#public?.queued.all ?? []]);
    for (const mark of generation.marks) if (!inUse.has(mark)) this.#tools.marks.release(mark);
    const ended = generation.server.ended.then(() => {}, () => {});
    this.#ending.add(ended);
    try {
      if (generation.phase !== "ended") generation.server.stop();
    } catch (error) {
      this.#report(error);
    }
    ended.then(() => {
      this.#ending.delete(ended);
      this.#finish();
    });
  }

  #finish(): void {
    if (!this.#isClosed || this.#list.length > 0) return;
    for (const mark of this.#public?.queued.all ?? []) this.#tools.marks.release(mark);
    if (this.#ending.size === 0) this.#empty.resolve();
  }
}
