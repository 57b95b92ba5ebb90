import { Server as HttpsServer } from "node:https";
import type { Socket } from "node:net";
import type { Server, TLSSocket } from "node:tls";
import type { DrainLimits } from "../accept/drain_options.ts";
import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import { closeIdleConnectionsAfter, DrainMoments } from "../native/gentle_end.ts";
import type { HandoffPolicy } from "../native/handoff_generations.ts";
import type { NativeServer } from "../native/native_server.ts";
import type { InheritedOptions } from "./inherited_options.ts";

/** What the servers of all generations get from the attachment of the server of the user. */
export interface AttachmentContext {
  /** The configuration that is to serve. */
  readonly newest: TlsAcceptor;
  /** Which connections of older generations end. */
  readonly policy: HandoffPolicy;
  /** The options that the server of the user was created with and keeps. */
  readonly inherited: InheritedOptions;
  /** The time limit of handshakes, if it is set. */
  readonly handshakeTimeoutMs: number | undefined;
  /** Whether the state has an `allowClient`. */
  readonly hasAllowClient: boolean;
  /** Judges a client after its handshake: gives it to the application, or resets the connection. */
  admit(secure: TLSSocket, generation: ForwardingServer, give: () => void): void;
  /** Reports a handshake that the runtime refuses. */
  reportFailure(error: Error, secure: TLSSocket): void;
  /** Reports an error of a configuration. */
  report(error: unknown): void;
  /** Makes the server follow its state by another mechanism. Throws if there is none. */
  fallBack(reason: string): void;
}

/** The server of the user, as its generations see it. */
export interface Application {
  readonly server: Server;
  readonly context: AttachmentContext;
  /** The events that its application listens for. */
  readonly events: readonly string[];
  /** Whether a connection came by the public address, and not by the port that a generation started on. */
  isPublic(socket: Socket): boolean;
  /** Emits an event on the server of the user. */
  emit(event: string, ...args: unknown[]): boolean;
}

/** Events of connections, which a generation passes on by itself. */
const CONNECTION_EVENTS = new Set(["connection", "secureConnection", "tlsClientError"]);
/** Events of the one server that listens, which speaks for itself. */
const OWN_EVENTS = new Set(["listening", "close", "error", "newListener", "removeListener"]);

type Emitter = { on(event: string, listener: (...args: unknown[]) => void): unknown };

/**
 * A server of one generation, whose events arrive at the server of the user.
 *
 * Invariant: it listens for exactly the events that the application listens for, because Bun asks the server that
 * accepts (`upgrade`, `checkContinue`, …). Connections to the port that the generation started on are those of its
 * proof, and of strangers: the application sees nothing of them.
 */
export class ForwardingServer implements NativeServer {
  readonly native: Server;
  readonly acceptor: TlsAcceptor;
  readonly port: number;
  readonly #application: Application;
  readonly #ended = Promise.withResolvers<void>();
  readonly #sockets = new Set<Socket>();
  readonly #hidden = new WeakSet<object>();
  #idleClosing: Disposable | undefined;
  readonly #forwarders = new Map<string, (...args: unknown[]) => void>();

  /** Takes a server that listens, on the port that it started on. */
  constructor(native: Server, port: number, acceptor: TlsAcceptor, application: Application) {
    this.native = native;
    this.port = port;
    this.acceptor = acceptor;
    this.#application = application;
    native.on("connection", (socket: Socket) => this.#connected(socket));
    native.on("secureConnection", (secure) => this.#secured(secure));
    native.on("tlsClientError", (error, secure) => this.#failed(error, secure));
    native.on("error", (error) => application.emit("error", error));
    native.once("close", () => {
      this.#idleClosing?.[Symbol.dispose]();
      this.#ended.resolve();
    });
    this.listenFor(application.events);
  }

  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** The connections, also those that were upgraded. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** `https` servers of Bun do not show the certificates of their clients. */
  get knowsClients(): boolean {
    return !(this.#application.server instanceof HttpsServer);
  }

  /** Responses say that they are the last ones, each connection from its own moment on; in the end idle ones close. */
  endConnections({ gentleMs }: DrainLimits): void {
    const moments = new DrainMoments(gentleMs);
    this.native.prependListener("request", ({ socket }, response) => {
      if (moments.hasCome(socket.remoteAddress, socket.remotePort)) response.setHeader("connection", "close");
    });
    this.#idleClosing = closeIdleConnectionsAfter(gentleMs, () => this.closeIdleConnections());
  }

  stop(): void {
    this.native.close();
    this.closeAllConnections();
  }

  /** Stops listening and closes idle connections; the others may finish. */
  stopGracefully(): void {
    this.native.close();
    this.closeIdleConnections();
  }

  closeAllConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  closeIdleConnections(): void {
    (this.native as { closeIdleConnections?(): void }).closeIdleConnections?.();
  }

  /** Changes the time limit of idle connections. */
  setTimeout(ms: number): void {
    (this.native as { setTimeout?(ms: number): void }).setTimeout?.(ms);
  }

  ref(): void {
    this.native.ref();
  }

  unref(): void {
    this.native.unref();
  }

  /** Listens for these events, and for no others, beside those of connections. */
  listenFor(events: readonly string[]): void {
    for (const [event, forwarder] of this.#forwarders) {
      if (events.includes(event)) continue;
      this.native.removeListener(event, forwarder);
      this.#forwarders.delete(event);
    }
    for (const event of events) {
      if (this.#forwarders.has(event) || OWN_EVENTS.has(event) || CONNECTION_EVENTS.has(event)) continue;
      const forwarder = (...args: unknown[]) => {
        if (!args.some((each) => this.#hidden.has(each as object))) this.#application.emit(event, ...args);
      };
      this.#forwarders.set(event, forwarder);
      (this.native as Emitter).on(event, forwarder);
    }
  }

  #connected(socket: Socket): void {
    if (!this.#application.isPublic(socket)) {
      this.#hidden.add(socket);
      return;
    }
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    const { server } = this.#application;
    // Bun begins a handshake on sockets of other servers, and emits the next events on the server of the socket.
    this.#application.emit("connection", Object.assign(socket, { server }));
    Object.assign(socket, { server: this.native });
  }

  #secured(secure: TLSSocket): void {
    if (this.#hidden.has(secure)) {
      // In TLS 1.2 the last message of the handshake is still to be sent. An https server would go on with a request.
      if (this.native instanceof HttpsServer) secure.destroy();
      else secure.end(() => secure.destroy());
      return;
    }
    this.#application.context.admit(secure, this, () => {
      const { server } = this.#application;
      // `http2` reads the server of its sockets; `https` counts those of each server.
      if (!(server instanceof HttpsServer)) Object.assign(secure, { server });
      this.#application.emit("secureConnection", secure);
    });
  }

  #failed(error: Error, secure: TLSSocket): void {
    if (this.#hidden.has(secure)) return;
    this.#application.context.reportFailure(error, secure);
    this.#application.emit("tlsClientError", error, secure);
  }
}
