import { nextTick } from "node:process";
import type { Server } from "node:tls";
import type { NativeServer } from "../native/native_server.ts";

/** The methods of a server that are answered for the servers of all generations. */
export interface SharedMethods {
  listen(...args: unknown[]): Server;
  close(callback?: (error?: Error) => void): Server;
  address(): object | string | null;
  isListening(): boolean;
  setRef(isRef: boolean): void;
  /** How many connections the generations have. */
  connections(): number;
  closeAllConnections(): void;
  closeIdleConnections(): void;
  setTimeout(ms: number): void;
}

type Method = (...args: never[]) => unknown;
type Methods = Record<string, Method>;

/**
 * Replaces the methods of a server, until it is released, and keeps those that it had.
 *
 * Invariant: a method that this kind of server does not have stays missing. `#originals` never has a replacement.
 */
export class ServerMethods {
  readonly #server: Server;
  readonly #shared: SharedMethods;
  readonly #replacements: Methods;
  /** The methods that are replaced now. */
  #originals: Methods = {};

  constructor(server: Server, shared: SharedMethods) {
    const { listen, close, address, closeAllConnections, closeIdleConnections } = shared;
    const { setRef, connections, setTimeout } = shared;
    this.#server = server;
    this.#shared = shared;
    const returning = (call: (...args: never[]) => void): Method => (...args) => {
      call(...args);
      return server;
    };
    const original = (name: string, ...args: unknown[]) => this.#call(name, ...args);
    this.#replacements = {
      listen,
      close,
      address,
      closeAllConnections,
      closeIdleConnections,
      ref: returning(() => setRef(true)),
      unref: returning(() => setRef(false)),
      getConnections: returning((callback: (error: Error | null, count: number) => void) => {
        if (this.isListening) {
          original("getConnections", (error: Error | null, own: number) => callback(error, own + connections()));
        } else nextTick(callback, null, connections());
      }),
      setTimeout: returning((ms: number, ...rest: unknown[]) => {
        original("setTimeout", ms, ...rest);
        setTimeout(ms);
      }),
    };
  }

  /** Replaces the methods, unless they are. */
  replace(): void {
    for (const [name, value] of Object.entries(this.#replacements)) {
      const method = Reflect.get(this.#server, name);
      if (typeof method !== "function" || this.#originals[name]) continue;
      this.#originals[name] = method;
      Object.defineProperty(this.#server, name, { value, configurable: true, writable: true });
    }
    Object.defineProperty(this.#server, "listening", { get: this.#shared.isListening, configurable: true });
  }

  /** Whether the server itself listens. */
  get isListening(): boolean {
    return Reflect.get(Object.getPrototypeOf(this.#server), "listening", this.#server);
  }

  /** Where the server itself listens. */
  address(): object | string | null {
    return this.#call("address") as object | string | null;
  }

  /** Closes the server itself. */
  close(callback?: (error?: Error) => void): void {
    this.#call("close", callback);
  }

  /** The server itself as a generation: it may have connections from before. */
  generation(port: number): OwnServer {
    return new OwnServer(port, (name) => this.#call(name));
  }

  /** Gives the methods back. */
  release(): void {
    for (const [name, original] of Object.entries(this.#originals)) {
      if (Reflect.get(this.#server, name) !== this.#replacements[name]) continue;
      Reflect.deleteProperty(this.#server, name);
      if (Reflect.get(this.#server, name) !== original) Reflect.set(this.#server, name, original);
    }
    Reflect.deleteProperty(this.#server, "listening");
    this.#originals = {};
  }

  #call(name: string, ...args: unknown[]): unknown {
    const method = this.#originals[name] ?? Reflect.get(this.#server, name);
    return method && Reflect.apply(method, this.#server, args);
  }
}

/** The server of the user, with the connections that it had before its socket was taken. */
export class OwnServer implements NativeServer {
  readonly port: number;
  readonly #call: (method: string) => unknown;
  readonly #ended = Promise.withResolvers<void>();
  /** Its connections are counted by the server itself. */
  readonly connections = 0;

  constructor(port: number, call: (method: string) => unknown) {
    this.port = port;
    this.#call = call;
  }

  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Ends it as a generation. It is closed with the port. */
  stop(): void {
    this.closeAllConnections();
    this.#ended.resolve();
  }

  stopGracefully(): void {
    this.closeIdleConnections();
  }

  closeAllConnections(): void {
    this.#call("closeAllConnections");
  }

  closeIdleConnections(): void {
    this.#call("closeIdleConnections");
  }

  setTimeout(): void {}

  listenFor(): void {}

  ref(): void {
    this.#call("ref");
  }

  unref(): void {
    this.#call("unref");
  }
}
