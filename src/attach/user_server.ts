import type { AddressInfo, Socket } from "node:net";
import type { Server } from "node:tls";
import type { TlsConfig } from "../config/tls_config.ts";
import type { HandoffFollower, HandoffOptions } from "../native/handoff.ts";
import { handoffSupport } from "../native/handoff_support.ts";
import type { Generation, ListenAddress } from "../native/native_server.ts";
import { ForwardingRuntime } from "./forwarding_runtime.ts";
import type { Application, AttachmentContext } from "./forwarding_server.ts";
import { listenCallOf } from "./listen_address.ts";
import { ServerMethods } from "./server_methods.ts";
import { type AnyGeneration, UserPort } from "./user_port.ts";

type Emitter = { emit(event: string, ...args: unknown[]): boolean };

/**
 * The server of the user, whose port is served by the servers of all generations. It speaks for them.
 *
 * Invariant: the application sees one server. Each event of a connection is emitted on it, whichever generation has the
 * connection; each method answers for all of them. The server itself accepts nothing, unless it listened before it was
 * attached, and until its port was taken over.
 */
export class UserServer implements Application {
  readonly server: Server;
  /** The attachment that the server follows its state by. */
  context: AttachmentContext;
  readonly #methods: ServerMethods;
  readonly #runtime: ForwardingRuntime;
  readonly #port: UserPort;
  /** Gets the port to each new configuration, while it is served by generations. */
  #follower: HandoffFollower | undefined;
  /** Set while the server begins to listen. */
  #opening: { isCancelled: boolean } | undefined;
  #isTakingOver = false;

  constructor(server: Server, context: AttachmentContext) {
    this.server = server;
    this.context = context;
    this.#runtime = new ForwardingRuntime(this);
    this.#port = new UserPort(this.#handoffOptions);
    this.#methods = new ServerMethods(server, this.#port, {
      listen: (...args) => this.#listen(args),
      close: (callback) => this.#close(callback),
    });
    server.on("newListener", (event) => this.#listenFor([...this.events, String(event)]));
    server.on("removeListener", () => this.#listenFor(this.events));
  }

  /** Whether the port is still that of the server itself, which has its own configuration. */
  get isTakingOver(): boolean {
    return this.#isTakingOver;
  }

  /** The generations that hold connections. */
  get generations(): readonly Generation[] {
    return this.#port.counts;
  }

  /** Follows by an attachment from now on. */
  use(context: AttachmentContext): void {
    this.#methods.replace();
    this.context = context;
    this.follow();
  }

  /** Takes the port over, if the server listens by itself. */
  async takeOver(): Promise<void> {
    if (!this.#methods.isListening || this.#port.isOpen) return;
    const { port } = this.#methods.address() as AddressInfo;
    this.#isTakingOver = true;
    try {
      const { reason, tools } = await handoffSupport();
      if (tools) await this.#port.takeOver(this.#methods.generation(port));
      else this.#fallBack(reason);
    } finally {
      this.#isTakingOver = false;
    }
  }

  /** Throws `UNSUPPORTED` if the server cannot serve a configuration. */
  requireServable(next: TlsConfig): void {
    this.#runtime.requireServable(next);
    this.#follower?.requireServable(next);
  }

  /** There is another configuration. */
  follow(): void {
    this.#follower?.follow();
  }

  /** Gives the server back, unless it listens by its generations. */
  release(): void {
    if (!this.#port.isOpen && !this.#opening && !this.#isTakingOver) this.#methods.release();
  }

  get events(): readonly string[] {
    return this.server.eventNames().map(String);
  }

  isPublic(socket: Socket): boolean {
    const { number } = this.#port;
    return number !== undefined && socket.localPort === number;
  }

  emit(event: string, ...args: unknown[]): boolean {
    return (this.server as Emitter).emit(event, ...args);
  }

  /** Made once, for every port and every attachment of the server. */
  get #handoffOptions(): HandoffOptions<AnyGeneration> {
    const current = () => this.context;
    return {
      state: { acceptor: () => this.context.newest },
      runtime: this.#runtime as HandoffOptions<AnyGeneration>["runtime"],
      get drain() {
        return current().policy.drain;
      },
      get drainTally() {
        return current().policy.drainTally;
      },
      onTlsError: (error) => this.context.report(error),
      follow: (follower) => {
        this.#follower = follower;
        return { [Symbol.dispose]: () => this.#follower = undefined };
      },
    };
  }

  #listenFor(events: readonly string[]): void {
    for (const generation of this.#port.generations) generation.listenFor(events);
  }

  #fallBack(reason: string): void {
    this.#methods.release();
    this.context.fallBack(reason);
  }

  #listen(args: readonly unknown[]): Server {
    const { address, signal, callback } = listenCallOf(args);
    if (this.#port.isOpen || this.#opening || this.#methods.isListening) throw alreadyListening();
    if (!address) {
      this.#fallBack("only TCP sockets can be handed over");
      return Reflect.apply(this.server.listen, this.server, args);
    }
    if (callback) this.server.once("listening", callback);
    signal?.addEventListener("abort", () => this.server.close());
    this.#opening = { isCancelled: false };
    this.#open(address, args).then(
      () => this.#opened(),
      async (error) => this.#opened(await this.#runtime.listenErrorOf(error)),
    );
    return this.server;
  }

  async #open(address: ListenAddress, args: readonly unknown[]): Promise<void> {
    const { reason, tools } = await handoffSupport();
    if (tools) return await this.#port.open(address);
    this.#fallBack(reason);
    Reflect.apply(this.server.listen, this.server, args.filter((each) => typeof each !== "function"));
  }

  /** Tells the application in a turn of its own, so that what it throws is an uncaught exception. */
  #opened(error?: unknown): void {
    const { isCancelled } = this.#opening!;
    this.#opening = undefined;
    if (isCancelled) {
      if (this.#port.isOpen) this.#close();
      else this.#end();
    } else if (error !== undefined) setImmediate(() => this.emit("error", error));
    else if (this.#port.isOpen) setImmediate(() => this.emit("listening"));
  }

  #close(callback?: (error?: Error) => void): Server {
    if (!this.#port.isOpen && !this.#opening) {
      this.#methods.close(callback);
      return this.server;
    }
    if (callback) this.server.once("close", () => callback());
    if (this.#opening) this.#opening.isCancelled = true;
    else this.#port.close().then(() => this.#end());
    return this.server;
  }

  /** The last connection has ended. */
  #end(): void {
    if (this.#methods.isListening) this.#methods.close();
    else setImmediate(() => this.emit("close"));
  }
}

function alreadyListening(): Error {
  const message = "Listen method has been called more than once without closing.";
  return Object.assign(new Error(message), { code: "ERR_SERVER_ALREADY_LISTEN" });
}
