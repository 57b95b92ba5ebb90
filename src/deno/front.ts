import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import type { TlsState } from "../accept/tls_state.ts";
import { proveTlsConfig } from "../config/proof.ts";
import { Front, type FrontOptions } from "../native/front.ts";
import type { ListenAddress, ServingGenerations } from "../native/native_server.ts";
import { type Peer, registerPeer } from "../native/peers.ts";
import { listenOn } from "../native/public_listener.ts";
import { relay } from "../native/relay.ts";
import { errorReporter } from "../native/serving_errors.ts";
import { handshakingBackend } from "./handshaking_backend.ts";
import { HttpHandshakes } from "./http_handshakes.ts";
import { type HttpHandlers, InnerServer } from "./inner_server.ts";
import type { DenoHttpGeneration } from "./native_server.ts";
import type { DenoAcceptOptions } from "./types.ts";

/** RFC 9113 section 3.4: the method of the connection preface of HTTP/2, which no request of HTTP/1.1 has. */
const PREFACE_METHOD = Buffer.from("PRI ");

/**
 * Opens a front for HTTP on Deno: it makes the handshakes by `TlsAcceptor`, and relays the decrypted bytes to a
 * `Deno.serve` without TLS. An inner TLS server would stall for 40 ms at each response.
 */
export async function openHttpFront(
  state: TlsState,
  address: ListenAddress,
  handlers: HttpHandlers,
  options: DenoAcceptOptions & FrontOptions,
): Promise<ServingGenerations<DenoHttpGeneration>> {
  const { handshakeTimeoutMs, onClientError } = options;
  const handshakes = new HttpHandshakes(state, handshakeTimeoutMs);
  const server = new RelayedServer(handlers, errorReporter(options));
  const onSecure = (secure: TLSSocket, peer: Peer) => server.serve(secure, peer);
  try {
    const front = await Front.open<DenoHttpGeneration>(state, {
      listen: listenOn(address),
      async start(acceptor) {
        await proveTlsConfig(acceptor.config);
        const accept = (client: Socket) => handshakes.accept(client, acceptor);
        return handshakingBackend(server, { accept, onSecure, onClientError });
      },
    }, options);
    void front.finished.then(() => {
      handshakes[Symbol.dispose]();
      server.stop();
    });
    return front;
  } catch (error) {
    handshakes[Symbol.dispose]();
    server.stop();
    throw error;
  }
}

/**
 * The inner server of a front, with the clients that have sent nothing yet.
 *
 * Invariant: a client is in `#silent` until it has an inner connection or is closed. A shutdown closes these clients.
 */
class RelayedServer extends InnerServer {
  readonly #silent = new Set<TLSSocket>();
  #isShuttingDown = false;

  serve(secure: TLSSocket, peer: Peer): void {
    if (this.#isShuttingDown) return void secure.destroy();
    this.#silent.add(secure);
    secure.once("close", () => this.#silent.delete(secure));
    this.#relayWhenReadable(secure, peer).catch(() => secure.destroy());
  }

  override async shutdown(): Promise<void> {
    this.#isShuttingDown = true;
    for (const secure of this.#silent) secure.destroy();
    await super.shutdown();
  }

  async #relayWhenReadable(secure: TLSSocket, peer: Peer): Promise<void> {
    const bytes = await firstBytes(secure, PREFACE_METHOD);
    const isPreface = bytes.subarray(0, PREFACE_METHOD.length).equals(PREFACE_METHOD);
    if (isPreface && secure.alpnProtocol !== "h2") throw new Error("the client did not agree on HTTP/2");
    const inner = await this.connect();
    this.#silent.delete(secure);
    registerPeer(inner, secure, peer, this.peers);
    inner.write(bytes);
    relay(secure, inner);
  }
}

/**
 * Takes the first bytes of a connection, as many as tell whether the connection begins with a text; at least one. The
 * connection is paused afterwards. Rejects if the connection ends before.
 */
function firstBytes(socket: Duplex, text: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let bytes: Buffer = Buffer.alloc(0);
    const settle = (end: () => void) => {
      socket.off("data", onData).off("end", onEnd).off("close", onEnd).pause();
      end();
    };
    const onEnd = () => settle(() => reject(new Error("the connection ended before its first bytes")));
    const onData = (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      const isUndecided = bytes.length < text.length && bytes.equals(text.subarray(0, bytes.length));
      if (!isUndecided) settle(() => resolve(bytes));
    };
    socket.on("data", onData).on("end", onEnd).on("close", onEnd);
    if (socket.destroyed) onEnd();
  });
}
