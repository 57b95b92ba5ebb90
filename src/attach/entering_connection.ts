import type { ServerHttp2Session } from "node:http2";
import type { TLSSocket } from "node:tls";
import { noteSession } from "../accept/gentle_end.ts";

/**
 * The connection that an application is being given. An `http2` server emits `"session"` meanwhile, with nothing that
 * leads from the session to the connection.
 */
export class EnteringConnection {
  #secure: TLSSocket | undefined;

  /** Calls what gives a connection to the application. */
  give<Result>(secure: TLSSocket, give: () => Result): Result {
    this.#secure = secure;
    try {
      return give();
    } finally {
      this.#secure = undefined;
    }
  }

  /** Notes the session of the connection, so that a drain can end it gently. */
  noteSession(session: ServerHttp2Session): void {
    if (this.#secure) noteSession(this.#secure, session);
  }
}
