import { connect, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { clearTimeout, setTimeout } from "node:timers";
import { type Peer, type Peers, registerPeer } from "./peers.ts";

/** How long one side may take to end a connection that the other side has ended. */
const LINGER_MS = 5_000;

/** The options of {@linkcode relay}. */
interface RelayOptions {
  /** Closes the connection of a client that takes no byte for this time while some wait for it. */
  readonly stallTimeoutMs?: number | undefined;
}

/**
 * Relays bytes between a client and an inner connection, with backpressure. Each direction ends by itself. An error or
 * a reset on one side resets the other side, so that its peer does not mistake this for a clean end.
 */
export function relay(client: Duplex, inner: Socket, { stallTimeoutMs = Infinity }: RelayOptions = {}): void {
  inner.on("error", ignoreError).once("close", () => {
    if (!inner.readableEnded) return reset(client);
    client.unpipe(inner).resume();
  });
  client.on("error", ignoreError).once("close", () => {
    if (!client.readableEnded) return reset(inner);
    // The native server has still to take what the client has sent.
    inner.destroySoon();
    destroyLater(inner);
  });
  client.once("finish", () => destroyLater(client));
  if (stallTimeoutMs < Infinity) resetWhenStalled(client, inner, stallTimeoutMs);
  client.pipe(inner).pipe(client);
  if (client.destroyed) reset(inner);
}

/** Relays a client to a native server on the loopback interface. Returns the inner connection. */
export function relayToPort(client: Duplex, peer: Peer, port: number, peers: Peers, options?: RelayOptions): Socket {
  const inner = connectInner(port);
  inner.once("connect", () => registerPeer(inner, client, peer, peers));
  relay(client, inner, options);
  return inner;
}

/** Connects to a native server on the loopback interface. */
export function connectInner(port: number): Socket {
  return connect({ host: "127.0.0.1", port, allowHalfOpen: true, noDelay: true }).on("error", ignoreError);
}

/** Destroys a socket that does not close by itself in time. */
export function destroyLater(socket: Duplex): void {
  if (socket.closed) return;
  const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref();
  socket.once("close", () => clearTimeout(timer));
}

/** A peer may reset a connection at any time; the consequences follow from `"close"`. */
export function ignoreError(): void {}

/** The native server no longer sees that its client does not read, because the relay reads in its place. */
function resetWhenStalled(client: Duplex, inner: Socket, stallTimeoutMs: number): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stop = () => clearTimeout(timer);
  inner.on("pause", () => {
    stop();
    timer = setTimeout(() => reset(client), stallTimeoutMs).unref();
  });
  client.on("drain", stop).once("close", stop);
}

/** So that the peer does not mistake this for a clean end. */
function reset(socket: Duplex): void {
  if (socket instanceof Socket && !socket.destroyed) socket.resetAndDestroy();
  else socket.destroy();
}
