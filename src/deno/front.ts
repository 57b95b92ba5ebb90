import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { TlsState } from "../accept/tls_state.ts";
import { proveTlsConfig } from "../config/proof.ts";
import { Front } from "../native/front.ts";
import type { ServingGenerations } from "../native/native_server.ts";
import type { Peer } from "../native/peers.ts";
import { type FrontAddress, listenOn } from "../native/public_listener.ts";
import { registerPeer, relay } from "../native/relay.ts";
import { errorReporter } from "../native/serving_options.ts";
import { firstBytes } from "./first_bytes.ts";
import { HandshakingBackend, type SecureConnection } from "./handshaking_backend.ts";
import { HttpHandshakes } from "./http_handshakes.ts";
import { type HttpHandlers, InnerServer } from "./inner_server.ts";
import type { DenoHttpGeneration } from "./native_server.ts";
import type { DenoAcceptOptions } from "./types.ts";

/** RFC 9113 section 3.4: the method of the connection preface of HTTP/2, which no request of HTTP/1.1 has. */
const PREFACE_METHOD = Buffer.from("PRI ");

/**
 * Opens a front for HTTP on Deno: it makes the handshakes by `TlsAcceptor`, and relays the decrypted bytes to a
 * `Deno.serve` without TLS. An inner TLS server would stall for 40 ms at each response.
 *
 * @param state The state to follow.
 * @param address The public address.
 * @param handlers How requests are answered.
 * @param options What to do with old generations and failed handshakes.
 * @returns The generations behind the front.
 */
export async function openHttpFront(
  state: TlsState,
  address: FrontAddress,
  handlers: HttpHandlers,
  options: DenoAcceptOptions & { readonly mechanismReason: string },
): Promise<ServingGenerations<DenoHttpGeneration>> {
  const { handshakeTimeoutMs, onClientError } = options;
  const handshakes = new HttpHandshakes(state, handshakeTimeoutMs);
  const server = new RelayedServer(handlers, errorReporter(options));
  const onSecure = (connection: SecureConnection) => server.serve(connection);
  try {
    const front: Front<DenoHttpGeneration> = await Front.open<DenoHttpGeneration>(state, {
      listen: listenOn(address),
      async start(acceptor) {
        await proveTlsConfig(acceptor.config);
        const accept = (client: Socket) => handshakes.accept(client, acceptor);
        return new HandshakingBackend<DenoHttpGeneration>({ server, accept, onSecure, onClientError });
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

  serve({ secure, peer }: SecureConnection): void {
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
