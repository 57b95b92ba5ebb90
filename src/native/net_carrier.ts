import { type AddressInfo, connect, createServer, type Server, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { clearInterval, clearTimeout, setInterval, setTimeout } from "node:timers";
import type { FrontAddress, Listen } from "./front.ts";
import { LINGER_MS, type Peer, type Peers } from "./peers.ts";

const REARM_EVERY_MS = 1_000;
const DEFAULT_BACKLOG = 511;

/**
 * Listens with `node:net`.
 *
 * @param address Where.
 * @returns What a front takes.
 */
export function listenNet({ hostname: host, port, backlog }: FrontAddress): Listen<Socket> {
  return ({ accepted, closed, failed }) =>
    new Promise((resolve, reject) => {
      // Paused, as a connection may have to wait for its generation; half-open, as each direction ends by itself.
      const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (client) => {
        client.on("error", ignore).once("close", () => closed(client));
        accepted(client);
      });
      server.once("error", reject);
      server.listen({ port, ...(host && { host }), ...(backlog && { backlog }) }, () => {
        server.off("error", reject).on("error", failed);
        const rearming = setInterval(() => rearm(server, backlog), REARM_EVERY_MS).unref();
        server.once("close", () => clearInterval(rearming));
        const { address: hostname, port } = server.address() as AddressInfo;
        resolve({
          address: { hostname, port },
          close: () => void server.close(),
          ref: () => void server.ref(),
          unref: () => void server.unref(),
        });
      });
    });
}

/**
 * Deno asks for no further connection once it had no file descriptor left for one. To listen again with the same handle
 * makes it ask, and loses none of those that wait.
 */
function rearm(server: Server, backlog = DEFAULT_BACKLOG): void {
  const { _handle: handle } = server as unknown as { _handle?: { listen?(backlog: number): unknown } };
  handle?.listen?.(backlog);
}

/**
 * Carries a client to a native server on the loopback interface and back: with backpressure, each direction ending by
 * itself, and a break on one side breaking the other.
 *
 * @param client The connection to carry, encrypted or not.
 * @param peer Who that is.
 * @param port Where the native server listens.
 * @param peers Knows the client until the native server has ended the connection.
 */
export function carry(client: Duplex, peer: Peer, port: number, peers: Peers): void {
  const inner = connect({ host: "127.0.0.1", port, allowHalfOpen: true, noDelay: true });
  let from: number | undefined;
  // Always before we let go of the connection: from then on its port may be a stranger's.
  const forget = () => {
    if (from !== undefined && peers.get(from) === peer) peers.delete(from);
  };
  inner.once("connect", () => peers.set(from = inner.localPort!, peer));
  inner.on("error", ignore).once("end", forget).once("close", () => {
    forget();
    if (!inner.readableEnded) return void reset(client);
    client.unpipe(inner).resume();
  });
  client.once("finish", () => destroyLater(client));
  client.on("error", ignore).once("close", () => {
    forget();
    if (!client.readableEnded) return void reset(inner);
    // What the client has sent is still to be taken.
    inner.destroySoon();
    destroyLater(inner);
  });
  client.pipe(inner).pipe(client);
}

/** The peer of a socket; known only while it is connected. */
export function peerOf({ remoteAddress, remotePort, remoteFamily }: Socket): Peer {
  return {
    address: remoteAddress ?? "",
    port: remotePort ?? 0,
    family: remoteFamily === "IPv6" ? "IPv6" : "IPv4",
  };
}

/** Destroys what has not closed by itself after a while. */
export function destroyLater(socket: Duplex): void {
  if (socket.closed) return;
  const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref();
  socket.once("close", () => clearTimeout(timer));
}

/** A break must not look like an end. */
function reset(socket: Duplex): void {
  if (socket instanceof Socket && !socket.destroyed) socket.resetAndDestroy();
  else socket.destroy();
}

/** A peer may break a connection at any time; what follows from it arrives as `"close"`. */
function ignore(): void {}
