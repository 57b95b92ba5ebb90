import type { NativeServer } from "../native/native_server.ts";

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
