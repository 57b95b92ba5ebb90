import { nextTick } from "node:process";
import type { Server } from "node:tls";
import { OwnServer } from "./own_server.ts";
import type { UserPort } from "./user_port.ts";

/** The methods that open and close the port of a server. */
interface PortMethods {
  listen(...args: unknown[]): Server;
  close(callback?: (error?: Error) => void): Server;
}

type Method = (...args: never[]) => unknown;
type Methods = Record<string, Method>;

/**
 * Replaces the methods of a server by those that answer for all generations, until it is released, and keeps those that
 * it had.
 *
 * Invariant: a method that this kind of server does not have stays missing. `#originals` never has a replacement.
 */
export class ServerMethods {
  readonly #server: Server;
  readonly #port: UserPort;
  readonly #replacements: Methods;
  /** The methods that are replaced now. */
  #originals: Methods = {};

  constructor(server: Server, port: UserPort, { listen, close }: PortMethods) {
    this.#server = server;
    this.#port = port;
    const returning = (call: (...args: never[]) => void): Method => (...args) => {
      call(...args);
      return server;
    };
    this.#replacements = {
      listen,
      close,
      address: () => port.address ?? this.address(),
      closeAllConnections: () => port.generations.forEach((generation) => generation.closeAllConnections()),
      closeIdleConnections: () => port.generations.forEach((generation) => generation.closeIdleConnections()),
      ref: returning(() => port.setRef(true)),
      unref: returning(() => port.setRef(false)),
      getConnections: returning((callback: (error: Error | null, count: number) => void) => {
        const count = port.generations.reduce((sum, { connections }) => sum + connections, 0);
        if (this.isListening) {
          this.#call("getConnections", (error: Error | null, own: number) => callback(error, own + count));
        } else nextTick(callback, null, count);
      }),
      setTimeout: returning((ms: number, ...rest: unknown[]) => {
        this.#call("setTimeout", ms, ...rest);
        port.generations.forEach((generation) => generation.setTimeout(ms));
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
    const get = () => this.#port.isOpen || this.isListening;
    Object.defineProperty(this.#server, "listening", { get, configurable: true });
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
