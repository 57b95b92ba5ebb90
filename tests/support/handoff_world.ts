import { setTimeout as delay } from "node:timers/promises";
import { type DrainOptions, TlsState } from "../../mod.ts";
import { addFollower, sharedBy } from "../../src/accept/tls_state.ts";
import { Handoff } from "../../src/native/handoff.ts";
import type { ServingOptions } from "../../src/native/serving_options.ts";
import { Marks } from "../../src/native/marks.ts";
import { issueCa, issueServer } from "./certificates.ts";
import { type FakeConnection, FakeKernel, FakeRuntime, type FakeServer } from "./fake_kernel.ts";
import { configOf } from "./peers.ts";

/** What may happen between two turns of promises: servers live in this thread too, and die there. */
export const EVENTS = ["swap", "close", "destroy", "the serving server dies", "the newest server dies"] as const;

const LONGEST_MS = 3_000;
const ca = await issueCa("clients");
const otherCa = await issueCa("other clients");
const certificates = [await issueServer("first"), await issueServer("second"), await issueServer("third")] as const;
const requiring = (at: 0 | 1 | 2, authority = ca) =>
  configOf(certificates[at], { clientAuth: { ca: authority.cert, mode: "required" } });
export const FIRST = requiring(0);
export const SECOND = requiring(1);
/** Clients that the first lets in are refused by these. */
export const SECOND_WITHOUT_TRUST = requiring(1, otherCa);
export const THIRD = requiring(2, otherCa);

/** A handoff on a kernel in memory, whose invariants are checked at every operation. */
export class World {
  readonly kernel = new FakeKernel();
  readonly runtime = new FakeRuntime(this.kernel);
  readonly dummy = this.kernel.openDummy();
  readonly marks = new Marks(this.dummy);
  readonly state: TlsState;
  readonly errors: unknown[] = [];
  readonly flaws: string[] = [];
  handoff!: Handoff<FakeServer>;
  operations = 0;
  /** A socket that got the descriptor number of a server that died. */
  reused: number | undefined;

  constructor(drain?: DrainOptions) {
    this.state = new TlsState(FIRST, { drain });
  }

  async open(options: ServingOptions = {}): Promise<void> {
    const tools = { kernel: this.kernel, marks: this.marks, dummy: this.dummy, publicCookies: new Set<bigint>() };
    const { drain, drainTally } = sharedBy(this.state);
    this.handoff = await Handoff.open(tools, { port: 443 }, {
      state: this.state,
      runtime: this.runtime,
      onTlsError: (error) => this.errors.push(error),
      ...options,
      drain,
      drainTally,
      follow: addFollower.bind(undefined, this.state),
    });
  }

  /** The servers that accept from the public port. */
  get holders(): FakeServer[] {
    return this.runtime.servers.filter((server) => {
      const socket = this.kernel.table.get(server.descriptor);
      const isRegistered = this.kernel.epoll.some((each) => each.event === server.event && each.socket === socket);
      return server.isRunning && !server.hasGivenUp && isRegistered && socket?.port === 443 && socket.isListening;
    });
  }

  check(when: string): void {
    if (this.holders.length > 1) this.flaws.push(`${this.holders.length} servers accept ${when}`);
  }

  connect(): FakeConnection {
    return this.kernel.connect(443);
  }

  happen(what: typeof EVENTS[number]): void {
    if (what === "swap") this.state.swap(THIRD);
    else if (what === "close" || what === "destroy") this.handoff[what]();
    else {
      const isServing = what === "the serving server dies";
      const running = this.runtime.servers.filter((server) => server.isRunning);
      const server = isServing ? running[0] : running.at(-1);
      server?.die();
      // The number goes to something else at once.
      this.reused ??= server && this.kernel.newSocket({ port: 443, mark: server.event.events });
    }
  }

  /** Turns the event loop until a condition holds. */
  async until(condition: () => boolean, what: string): Promise<void> {
    for (const end = Date.now() + LONGEST_MS; !condition();) {
      if (Date.now() > end) throw new Error(`never: ${what}`);
      this.check("between turns");
      this.runtime.acceptAll();
      await delay(1);
    }
  }

  /** Turns it until the newest generation gets connections. */
  async newestServes(): Promise<void> {
    for (const end = Date.now() + LONGEST_MS;;) {
      const connection = this.connect();
      await this.until(() => connection.servedBy !== undefined || connection.isReset === true, "an answer");
      this.kernel.disconnect(connection);
      if (connection.servedBy === this.state.generation) return;
      if (Date.now() > end) throw new Error("the newest generation never serves");
      await delay(1);
    }
  }
}
