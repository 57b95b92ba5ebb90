// Deno's own servers: bare, with a state, and what can be done with Deno alone.
import { type DenoTlsConn, listenTls, serve } from "../../src/deno.ts";
import { bodyOf, ECHO, following, LOOPBACK, pathOf, replacing, type Start, type Started } from "./serving.ts";

/** What both kinds of listener yield. */
type Conn = Pick<DenoTlsConn, "read" | "write" | "close">;

const OVERLAP_MS = 1_000;
const REBIND_TRIES = 100;
const REBIND_MS = 5;
const WHOLE_BYTES = 65_536;

function respond(request: Request): Response {
  const path = pathOf(request);
  if (path !== ECHO) return new Response(bodyOf(path));
  const { socket, response } = Deno.upgradeWebSocket(request);
  socket.onmessage = ({ data }) => socket.send(data);
  return response;
}

export const DENO_SERVERS: Record<string, Start> = {
  "Deno.serve": ([{ cert, key }]) => Deno.serve({ ...LOOPBACK, cert, key, onListen() {} }, respond).addr,
  "Deno.serve without TLS": () => Deno.serve({ ...LOOPBACK, onListen() {} }, respond).addr,
  "serve() of ./deno": following(async (state) => (await serve(state, LOOPBACK, respond)).addr),
  "serve() of ./deno, by front": following(async (state) => {
    return (await serve(state, { ...LOOPBACK, mechanism: "front" }, respond)).addr;
  }),
  "Deno.listenTls": ([{ cert, key }]) => acceptAll(Deno.listenTls({ ...LOOPBACK, cert, key })),
  "listenTls() of ./deno": following(async (state) => acceptAll(await listenTls(state, LOOPBACK))),
  "Deno.serve, the next overlapping": (identities) => {
    const start = (index: 0 | 1, port: number) => rebind({ port, reusePort: true, ...identities[index] });
    return replacing(start, async (previous, next) => {
      const server = await next();
      void previous.server.shutdown();
      return server;
    });
  },
  "Deno.serve, shut down and started": (identities) => {
    const start = (index: 0 | 1, port: number) => rebind({ port, ...identities[index] });
    return replacing(start, async (previous, next) => {
      await Promise.race([previous.server.shutdown(), pause(OVERLAP_MS)]);
      return await next();
    });
  },
};

/** The port of a server that has shut down is not free at once. */
async function rebind(options: { cert: string; key: string; port: number; reusePort?: boolean }) {
  for (let tries = 0;; tries++) {
    try {
      const server = Deno.serve({ hostname: LOOPBACK.hostname, ...options, onListen() {} }, respond);
      return { server, port: server.addr.port };
    } catch (error) {
      if (tries === REBIND_TRIES || !(error instanceof Deno.errors.AddrInUse)) throw error;
      await pause(REBIND_MS);
    }
  }
}

function acceptAll(conns: AsyncIterable<Conn> & { readonly addr: { readonly port: number } }): Started {
  (async () => {
    for await (const conn of conns) respondAll(conn).catch(() => conn.close());
  })();
  return conns.addr;
}

/** As much of HTTP as the load asks for. */
async function respondAll(conn: Conn): Promise<void> {
  const buffer = new Uint8Array(WHOLE_BYTES);
  for (let length; (length = await conn.read(buffer)) !== null;) {
    const request = new TextDecoder().decode(buffer.subarray(0, length));
    const body = bodyOf(request.split(" ", 2)[1]);
    const isLast = /connection: close/i.test(request);
    const head = `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${isLast ? "Connection: close\r\n" : ""}\r\n`;
    const isSmall = body.length <= WHOLE_BYTES;
    const first = new Uint8Array(head.length + (isSmall ? body.length : 0));
    new TextEncoder().encodeInto(head, first);
    if (isSmall) first.set(body, head.length);
    await writeAll(conn, first);
    if (!isSmall) await writeAll(conn, body);
    if (isLast) break;
  }
  conn.close();
}

async function writeAll(conn: Conn, bytes: Uint8Array): Promise<void> {
  for (let sent = 0; sent < bytes.length;) sent += await conn.write(bytes.subarray(sent));
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
