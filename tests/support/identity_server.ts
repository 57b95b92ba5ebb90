import { createServer, type Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { clientIdentity, type TlsState } from "../../mod.ts";
import { portOf } from "./peers.ts";

/** An HTTPS server that answers each request with the subject of its client. */
export interface IdentityServer extends AsyncDisposable {
  readonly port: number;
  /** How many connections were accepted, and how many of them resumed a session. */
  readonly counts: { accepted: number; resumed: number };
  /** The subjects of the clients that are connected. */
  connected(): string[];
}

/** Serves HTTP/1.1 with keep-alive over the acceptors of a state. */
export async function identityServer(state: TlsState, port = 0): Promise<IdentityServer> {
  const counts = { accepted: 0, resumed: 0 };
  const clients = new Map<Socket, string>();
  const server = createServer((socket) => {
    clients.set(socket, "");
    socket.once("close", () => clients.delete(socket));
    state.acceptor().accept(socket).then((secure) => {
      const subject = clientIdentity(secure)?.subject ?? "";
      clients.set(socket, subject);
      counts.accepted++;
      if (secure.isSessionReused()) counts.resumed++;
      answerRequests(secure, subject);
    }, () => {});
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    port: portOf(server),
    counts,
    connected: () => [...clients.values()],
    [Symbol.asyncDispose]: () => {
      for (const socket of clients.keys()) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

function answerRequests(secure: TLSSocket, subject: string): void {
  let text = "";
  secure.on("error", () => {}).on("data", (chunk) => {
    text += chunk;
    for (let end; (end = text.indexOf("\r\n\r\n")) >= 0; text = text.slice(end + 4)) {
      secure.write(`HTTP/1.1 200 OK\r\ncontent-length: ${subject.length}\r\n\r\n${subject}`);
    }
  });
}
