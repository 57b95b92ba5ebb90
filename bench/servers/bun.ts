// Bun's own server: bare, with a state, and what can be done with Bun alone.
import { type BunServer, type BunWebSocket, serve } from "../../src/bun.ts";
import { bodyOf, CLOSING, ECHO, following, LOOPBACK, pathOf, replacing, type Start } from "./serving.ts";

declare const Bun: { serve(options: object): BunServer };

const HTTP = {
  ...LOOPBACK,
  // Keep-alive connections stay, however long it takes to open the others.
  idleTimeout: 0,
  fetch(request: Request, server: BunServer): Response | undefined {
    const path = pathOf(request);
    if (path === ECHO && server.upgrade(request)) return undefined;
    // Bun does not tell a client that asked for it that it closes the connection.
    return new Response(bodyOf(path), path === CLOSING ? { headers: { connection: "close" } } : {});
  },
  websocket: {
    message(socket: BunWebSocket, message: string | Uint8Array): void {
      socket.send(message);
    },
  },
};

export const BUN_SERVERS: Record<string, Start> = {
  "Bun.serve": ([tls]) => Bun.serve({ ...HTTP, tls }),
  "Bun.serve without TLS": () => Bun.serve(HTTP),
  "serve() of ./bun": following((state) => serve(state, HTTP)),
  "serve() of ./bun, by front": following((state) => serve(state, { ...HTTP, mechanism: "front" })),
  "Bun.serve, the next overlapping": (identities) => {
    const start = (index: 0 | 1, port: number) => Bun.serve({ ...HTTP, port, reusePort: true, tls: identities[index] });
    return replacing(start, async (previous, next) => {
      const server = await next();
      void previous.stop();
      return server;
    });
  },
  "Bun.serve, stopped and started": (identities) => {
    const start = (index: 0 | 1, port: number) => Bun.serve({ ...HTTP, port, tls: identities[index] });
    return replacing(start, (previous, next) => {
      void previous.stop();
      return next();
    });
  },
};
