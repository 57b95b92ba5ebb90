import type { TLSSocket } from "node:tls";
import type { Peer } from "../native/peers.ts";
import { destroyLater } from "../native/relay.ts";
import type { DenoNetAddr, DenoTlsConn } from "./types.ts";

declare const Deno: { readonly errors: { readonly BadResource: new (message: string) => Error } };

/**
 * A `DenoTlsConn` over a TLS socket that `TlsAcceptor` has accepted.
 *
 * Invariant: bytes stay in the socket until they are read, so that a slow reader holds up its client. After `close()`,
 * reads and writes reject with `BadResource`.
 */
export class TlsConn implements DenoTlsConn {
  readonly remoteAddr: DenoNetAddr;
  readonly localAddr: DenoNetAddr;
  readonly #socket: TLSSocket;
  #readable: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;
  #writable: WritableStream<Uint8Array<ArrayBufferLike>> | undefined;
  #changed = Promise.withResolvers<void>();
  #isEnded = false;
  #isClosed = false;

  constructor(socket: TLSSocket, { address: hostname, port }: Peer) {
    this.#socket = socket;
    this.remoteAddr = { transport: "tcp", hostname, port };
    this.localAddr = { transport: "tcp", hostname: socket.localAddress ?? "", port: socket.localPort ?? 0 };
    const change = () => {
      this.#changed.resolve();
      this.#changed = Promise.withResolvers();
    };
    socket.on("readable", change).on("close", change).on("end", () => {
      this.#isEnded = true;
      change();
    });
  }

  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#readable ??= new ReadableStream({
      type: "bytes",
      pull: async (controller) => {
        const view = controller.byobRequest?.view;
        const chunk = await this.#next(view?.byteLength ?? Infinity);
        if (!chunk) {
          controller.close();
          controller.byobRequest?.respond(0);
        } else if (view) {
          new Uint8Array(view.buffer, view.byteOffset, view.byteLength).set(chunk);
          controller.byobRequest!.respond(chunk.length);
        } else {
          // A copy, because the stream detaches the memory, which the socket may share among chunks.
          controller.enqueue(new Uint8Array(chunk));
        }
      },
      cancel: () => this.close(),
    }, { highWaterMark: 0 });
  }

  get writable(): WritableStream<Uint8Array<ArrayBufferLike>> {
    return this.#writable ??= new WritableStream({
      write: async (chunk) => void await this.write(chunk),
      close: () => this.closeWrite(),
      abort: () => this.close(),
    });
  }

  async read(p: Uint8Array): Promise<number | null> {
    if (p.byteLength === 0) return 0;
    const chunk = await this.#next(p.byteLength);
    if (!chunk) return null;
    p.set(chunk);
    return chunk.length;
  }

  write(p: Uint8Array): Promise<number> {
    if (this.#isClosed) return Promise.reject(closedError("Connection"));
    return new Promise((resolve, reject) => {
      this.#socket.write(p, (error) => error ? reject(error) : resolve(p.byteLength));
    });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.destroySoon();
    // A client that does not read would keep the connection open for ever.
    destroyLater(this.#socket);
  }

  closeWrite(): Promise<void> {
    if (this.#isClosed) return Promise.reject(closedError("Connection"));
    return new Promise((resolve) => this.#socket.end(() => resolve()));
  }

  handshake(): Promise<{ alpnProtocol: string | null }> {
    return Promise.resolve({ alpnProtocol: this.#socket.alpnProtocol || null });
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #next(maxBytes: number): Promise<Uint8Array | undefined> {
    for (;;) {
      if (this.#isClosed) throw closedError("Connection");
      const available = Math.min(this.#socket.readableLength, maxBytes);
      const chunk = this.#socket.read(available > 0 ? available : undefined);
      if (chunk) return chunk;
      if (this.#isEnded) return undefined;
      if (this.#socket.destroyed) throw this.#socket.errored ?? closedError("Connection");
      await this.#changed.promise;
    }
  }
}

/** The error of Deno for something that was closed. */
export function closedError(what: string): Error {
  return new Deno.errors.BadResource(`${what} has been closed`);
}
