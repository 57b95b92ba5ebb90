import type { Duplex } from "node:stream";
import { createServer, type Server, type TlsOptions, type TLSSocket } from "node:tls";
import { TlsReloadError, type TlsReloadErrorCode } from "../errors.ts";
import { hideKey, socketUnder } from "../node_internals.ts";

/** One handshake in progress. */
export interface Pending {
  /** Why it was ended by us, once it is. */
  refusal: TlsReloadError | undefined;
  /** The handshake is complete. Whether the client enters is another question. */
  admit(secure: TLSSocket): void;
  fail(error: unknown, secure?: TLSSocket): void;
}

/** The handshakes in progress of all servers, by the socket that they were begun with. */
const pendings = new WeakMap<Duplex, Pending>();

/**
 * Makes a `tls.Server` that never listens and makes handshakes: `tls.Server` verifies clients, which a bare `TLSSocket`
 * leaves to its owner. It serves every generation that uses the same certified key and options.
 *
 * @param options The options of the server.
 * @param prepare Called with the server, so that its listeners are called before those of the handshakes.
 * @param duplex The only connection of the server, if it is not a `net.Socket`: nothing leads from an encrypted socket
 * to such a `Duplex` under it.
 * @returns The server.
 */
export function createInnerServer(options: TlsOptions, prepare: (server: Server) => void, duplex?: Duplex): Server {
  const pendingOf = (secure: TLSSocket) => pendings.get((duplex ?? socketUnder(secure))!);
  // No time limit but that of the handshake: Deno keeps every socket whose handshake has failed until the server's ends.
  const server = hideKey(createServer({ ...options, handshakeTimeout: -1 }));
  prepare(server);
  server.on("secureConnection", (secure) => {
    hideKey(secure).on("error", () => closeAfterError(secure));
    const pending = pendingOf(secure);
    if (pending) pending.admit(secure);
    else secure.destroy();
  });
  server.on("tlsClientError", (cause: NodeJS.ErrnoException, secure) => {
    const pending = pendingOf(secure);
    pending?.fail(pending.refusal ?? failureOf(cause, secure), secure);
  });
  return server;
}

/**
 * Gives a connection to a server.
 *
 * @param server The server.
 * @param socket The connection.
 * @param pending Where the handshake ends.
 */
export function handOver(server: Server, socket: Duplex, pending: Pending): void {
  pendings.set(socket, pending);
  server.emit("connection", socket);
}

/** Forgets a handshake that has ended. */
export function forget(socket: Duplex): void {
  pendings.delete(socket);
}

/**
 * RFC 8446 section 6.2: a fatal error ends the connection. The runtimes emit the error of a record that does not decrypt,
 * and leave the socket open.
 */
function closeAfterError(secure: TLSSocket): void {
  // Deferred: the runtime has not sent its alert yet, and destroying inside the event crashes Node.
  setImmediate(() => secure.destroy());
}

function failureOf(cause: NodeJS.ErrnoException, { authorizationError }: TLSSocket): TlsReloadError {
  if (cause.code === "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE") {
    return failure("CLIENT_UNAUTHORIZED", "the client sent no certificate", cause);
  }
  return authorizationError
    ? failure("CLIENT_UNAUTHORIZED", String(authorizationError), cause)
    : failure("HANDSHAKE_FAILED", cause.code ?? cause.message, cause);
}

/** The error of a connection that is not accepted. */
export function failure(code: TlsReloadErrorCode, reason: string, cause?: unknown): TlsReloadError {
  return new TlsReloadError(code, `Cannot accept connection: ${reason}`, { cause });
}
