import type { ServerHttp2Session } from "node:http2";
import type { TLSSocket } from "node:tls";
import { responseOn } from "../node_internals/sockets.ts";

/** The sessions of HTTP/2 servers that this module knows, by their connection. */
const sessions = new WeakMap<TLSSocket, ServerHttp2Session>();

/** Notes that a connection is served by a session of `http2`, which no property of the connection tells. */
export function noteSession(secure: TLSSocket, session: ServerHttp2Session): void {
  sessions.set(secure, session);
}

/**
 * Begins to end a connection in the way of what it is used for: HTTP/2 sends GOAWAY and finishes its streams, HTTP/1
 * finishes the response that it is at, and any other connection ends the server's side.
 */
export function endGently(secure: TLSSocket): void {
  if (secure.destroyed) return;
  const session = sessions.get(secure);
  if (session) {
    session.close();
    return;
  }
  // A session that this module does not know would lose its streams.
  if (secure.alpnProtocol === "h2") return;
  const response = responseOn(secure);
  if (!response) {
    secure.end();
    return;
  }
  // Sends `Connection: close`, unless the head of the response has been sent.
  response.shouldKeepAlive = false;
  response.once("close", () => endGently(secure));
}
