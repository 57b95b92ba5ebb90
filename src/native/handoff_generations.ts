import { clearTimeout, setTimeout } from "node:timers";
import type { DrainPolicy } from "../accept/drain_options.ts";
import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import { takesTrustAway } from "../accept/trust.ts";
import { guarded } from "../warnings.ts";
import { ConnectionCount, connectionMark, type CountedSockets, type Marked } from "./connection_count.ts";
import type { HandoffGeneration } from "./handoff_generation.ts";
import type { Generation, NativeServer } from "./native_server.ts";
import type { HandoffTools, PublicSocket } from "./public_socket.ts";

/** How often replaced generations are looked at. */
const LOOK_EVERY_MS = 100;
/** The longest that a count may keep the event loop from other things, and the pause after that. */
const SLICE_MS = 2;
const PAUSE_MS = 4;
/** The share of time that counts may take. */
const COUNT_SHARE = 0.05;

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
  /** Which connections of older generations end. */
  policy: DrainPolicy;
  readonly #empty = Promise.withResolvers<void>();
  readonly #ending = new Set<Promise<void>>();
  #public: PublicSocket | undefined;
  #count: ConnectionCount | undefined;
  /** The generations that got no connections when the count began: of others it may miss some. */
  #judged: ReadonlySet<HandoffGeneration<Server>> = new Set();
  #countedMs = 0;
  #nextCountAt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lookAt = Infinity;
  #isClosed = false;

  constructor(tools: HandoffTools, policy: DrainPolicy, report: (error: unknown) => void) {
    this.#tools = tools;
    this.policy = policy;
    this.#report = report;
  }

  /**
   * The state has another configuration. Generations whose clients may be refused by it end; the last one by force only
   * when another server has taken its place.
   */
  drainUntrusted(newest: TlsAcceptor): void {
    for (const generation of this.#list) {
      if (!takesTrustAway(generation.acceptor.config, newest.config)) continue;
      guarded(() => generation.server.refuseRequests?.());
      generation.drain(this.policy, newest);
    }
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
    for (const each of this.#list) {
      if (each.acceptor !== generation.acceptor) each.drain(this.policy, generation.acceptor);
    }
    generation.own(publicSocket.queued.all);
    this.#list.push(generation);
    this.#look(LOOK_EVERY_MS);
  }

  /** No generation gets connections any more: each one ends with its last connection. */
  close(): void {
    this.#isClosed = true;
    this.#nextCountAt = 0;
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
    this.#count ??= this.#newCount();
    this.#advance();
    return this.#list.map(({ acceptor: { generation }, connections }) => ({ generation, connections }));
  }

  /** Looks after this time, unless a look is due earlier: swaps that follow each other soon do not put it off. */
  #look(afterMs: number): void {
    const at = performance.now() + afterMs;
    if (this.#leaving.length === 0) {
      this.#cancelLook();
      this.#finish();
    } else if (at < this.#lookAt) {
      this.#cancelLook();
      this.#lookAt = at;
      this.#timer = setTimeout(() => this.#lookNow(), afterMs).unref();
    }
  }

  #cancelLook(): void {
    clearTimeout(this.#timer);
    this.#lookAt = Infinity;
  }

  get #leaving(): HandoffGeneration<Server>[] {
    return this.#isClosed ? [...this.#list] : this.#list.slice(0, -1);
  }

  #lookNow(): void {
    this.#cancelLook();
    this.#public?.settle();
    const now = performance.now();
    for (const generation of this.#leaving) {
      if (generation.forcedAt <= now) this.#end(generation);
    }
    const sockets = this.#sockets;
    const isIn = (generation: HandoffGeneration<Server>) => (descriptor: number) => {
      const mark = connectionMark(this.#tools.kernel, descriptor, sockets);
      return mark !== undefined && generation.marks.has(mark);
    };
    const isAnyUnseen = this.#leaving.some((generation) => !generation.witnesses.some(isIn(generation)));
    if (this.#count || (isAnyUnseen && now >= this.#nextCountAt)) {
      this.#count ??= this.#newCount();
      this.#advance();
    }
    const untilForce = Math.min(...this.#leaving.map(({ forcedAt }) => forcedAt - now));
    this.#look(this.#count ? PAUSE_MS : Math.max(0, Math.min(LOOK_EVERY_MS, untilForce)));
  }

  get #sockets(): CountedSockets {
    const ports = new Set(this.#list.map(({ port }) => port));
    if (this.#public) ports.add(this.#public.address.port);
    return { ports, marks: new Set(this.#list.flatMap(({ marks }) => [...marks])) };
  }

  #newCount(): ConnectionCount {
    this.#countedMs = 0;
    this.#judged = new Set(this.#leaving);
    return new ConnectionCount(this.#tools.kernel, this.#sockets);
  }

  #advance(): void {
    const begin = performance.now();
    const count = this.#count!;
    const isComplete = count.advance(SLICE_MS);
    const now = performance.now();
    this.#countedMs += now - begin;
    if (!isComplete) return this.#look(PAUSE_MS);
    this.#count = undefined;
    this.#nextCountAt = now + Math.max(0, this.#countedMs / COUNT_SHARE);
    this.#assign(count.byMark);
  }

  /** Shows each connection for the oldest generation that it may belong to, and ends those that have none. */
  #assign(byMark: ReadonlyMap<number, Marked>): void {
    const shown = new Set<number>();
    for (const generation of [...this.#list]) {
      const owned = [...byMark].filter(([mark]) => generation.marks.has(mark));
      generation.witnesses = owned.map(([, { witness }]) => witness);
      const own = owned.filter(([mark]) => !shown.has(mark));
      generation.connections = own.reduce((sum, [, { connections }]) => sum + connections, 0);
      for (const [mark] of own) shown.add(mark);
      if (owned.length === 0 && this.#judged.has(generation)) this.#end(generation);
    }
  }

  #end(generation: HandoffGeneration<Server>): void {
    this.#list.splice(this.#list.indexOf(generation), 1);
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
