import type { Duplex } from "node:stream";
import { createServer, type Server, type TlsOptions, type TLSSocket } from "node:tls";
import type { TlsReloadError } from "../errors.ts";
import { hideKey, socketUnder } from "../node_internals/sockets.ts";
import { runtimeFailure } from "./handshake_failure.ts";

/** One handshake in progress. */
export interface Pending {
  /** The error of this module, if this module has ended the handshake. */
  refusal: TlsReloadError | undefined;
  /** Called when the handshake is complete, before the client is accepted or refused. */
  admit(secure: TLSSocket): void;
  fail(error: unknown, secure?: TLSSocket): void;
}

/** The handshakes in progress of all servers, by their socket. */
const pendings = new WeakMap<Duplex, Pending>();

/**
 * Makes a `tls.Server` that makes handshakes and never listens. A `tls.Server` verifies clients; a bare `TLSSocket`
 * does not. All generations with the same certified key and options share the server.
 *
 * @param onCreated Called with the server, to add listeners that run before those of the handshakes.
 * @param duplex The only connection of the server, if it is not a `net.Socket`, because no property leads from an
 * encrypted socket to such a `Duplex`.
 */
export function createInnerServer(options: TlsOptions, onCreated: (server: Server) => void, duplex?: Duplex): Server {
  const pendingOf = (secure: TLSSocket) => pendings.get((duplex ?? socketUnder(secure))!);
  // Disables the time limit of the server, because Deno keeps each failed socket until that limit. `Pending` has its
  // own.
  const server = hideKey(createServer({ ...options, handshakeTimeout: -1 }));
  onCreated(server);
  server.on("secureConnection", (secure) => {
    secure.on("error", closeAfterError);
    const pending = pendingOf(secure);
    if (pending) pending.admit(secure);
    else secure.destroy();
  });
  server.on("tlsClientError", (cause: NodeJS.ErrnoException, secure) => {
    const pending = pendingOf(secure);
    pending?.fail(pending.refusal ?? runtimeFailure(cause, secure), secure);
  });
  return server;
}

/** Gives a connection to a server, which begins the handshake. `pending` gets its outcome. */
export function makeHandshake(server: Server, socket: Duplex, pending: Pending): void {
  pendings.set(socket, pending);
  server.emit("connection", socket);
}

/** Removes a handshake that has ended. */
export function forget(socket: Duplex): void {
  pendings.delete(socket);
}

/**
 * Closes a connection after a fatal error (RFC 8446 section 6.2). The runtimes emit an error for a record that cannot
 * be decrypted, but leave the socket open.
 */
function closeAfterError(this: TLSSocket): void {
  // Deferred: the runtime has not sent its alert yet, and destroying inside the event crashes Node.
  setImmediate(() => this.destroy());
}
