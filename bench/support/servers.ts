// The servers that are measured, each in a process of its own:
//   deno run -A bench/support/servers.ts NAME FOLDER       bun …       node …
// FOLDER holds first.crt, first.key, second.crt, second.key, and what is to be watched: tls.crt and tls.key. It prints
// its port and then answers the lines of its standard input: `swap` and `memory`. It ends when that does.
import { once } from "node:events";
import { readFileSync, watch } from "node:fs";
import { createServer as createHttpServer, type RequestListener } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, createServer as createListener, type Server } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { loadTlsConfig, TlsConfig, TlsState } from "../../mod.ts";
import { Reloader, type WatchOptions } from "../../src/reload.ts";
import * as bun from "../../src/bun.ts";
import * as deno from "../../src/deno.ts";
import { attach } from "../../src/node.ts";

interface Pair {
  readonly cert: string;
  readonly key: string;
}

interface Started {
  readonly port: number;
  /** Serves with the pair of this index from now on. */
  swap?(index: 0 | 1): unknown;
}

type Start = (pairs: readonly [Pair, Pair], folder: string) => Started | Promise<Started>;

/** What both kinds of listener yield. */
type Conn = Pick<deno.DenoTlsConn, "read" | "write" | "close">;

interface BunServer {
  readonly port: number;
  stop(): Promise<void>;
}

declare const Bun: { serve(options: object): BunServer; gc(force: true): void };

const LOOPBACK = { hostname: "127.0.0.1", port: 0 };
const NEVER_MS = 600_000;
const OVERLAP_MS = 1_000;
const CLOSING = "/200/fresh";

/** What is served at which path; `hello` anywhere else. */
const BODIES = new Map(
  [200, 1024, 20_480, 64 * 1024 * 1024].map((size) => [`/${size}`, new Uint8Array(size).fill(120)]),
);
const HELLO = new TextEncoder().encode("hello\n");
const bodyOf = (path = "/") => BODIES.get(path) ?? (path === CLOSING ? BODIES.get("/200")! : HELLO);

const fetch = ({ url }: Request) => new Response(bodyOf(url.slice(url.indexOf("/", 8))));
/** Bun does not tell a client that asked for it that it closes the connection. */
const fetchOrClose = (request: Request) => {
  if (!request.url.endsWith(CLOSING)) return fetch(request);
  return new Response(bodyOf("/200"), { headers: { connection: "close" } });
};
const listener: RequestListener = ({ url }, response) => {
  const body = bodyOf(url);
  response.setHeader("content-length", body.length).end(body);
};

/** An answer to whatever the first bytes are, and the end: the price of accepting, and of nothing else. */
const greet = (secure: TLSSocket) => {
  secure.on("error", () => {});
  secure.once("data", () => secure.end("HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nhello\n"));
};

const SERVERS: Record<string, Start> = {
  // Accepting, on all three runtimes.
  "tls.createServer": ([tls]) => listen(createTlsServer(tls, greet)),
  "TlsAcceptor": following((state) => listen(overAcceptor(state, greet))),
  "https.createServer": ([tls]) => listen(createHttpsServer(tls, listener)),
  "TlsAcceptor and node:http": following((state) => {
    const http = createHttpServer(listener);
    // Deno closes a connection after its first response if the server that it was given to does not listen.
    Object.defineProperty(http, "listening", { value: true });
    return listen(overAcceptor(state, (secure) => void http.emit("connection", secure)));
  }),
  "https.createServer and attach()": following((state) => {
    const server = createHttpsServer(state.tls, listener);
    attach(state, server);
    return listen(server);
  }),
  "setSecureContext": async (pairs) => {
    const server = createHttpsServer(pairs[0], listener);
    return { ...await listen(server), swap: (index) => server.setSecureContext(pairs[index]) };
  },

  // Bun's own server, ours before it, and what can be done with Bun alone.
  "Bun.serve": ([tls]) => Bun.serve({ ...LOOPBACK, tls, fetch: fetchOrClose }),
  "Bun.serve without TLS": () => Bun.serve({ ...LOOPBACK, fetch }),
  "serve() of ./bun": following((state) => bun.serve(state, { ...LOOPBACK, fetch: fetchOrClose })),
  "Bun.serve, the next overlapping": (pairs) => {
    const start = (index: 0 | 1, port: number) =>
      Bun.serve({ ...LOOPBACK, port, reusePort: true, tls: pairs[index], fetch });
    return replacing(start, async (previous, next) => {
      const server = next();
      void previous.stop();
      return await server;
    });
  },
  "Bun.serve, stopped and started": (pairs) => {
    const start = (index: 0 | 1, port: number) => Bun.serve({ ...LOOPBACK, port, tls: pairs[index], fetch });
    return replacing(start, (previous, next) => {
      void previous.stop();
      return next();
    });
  },

  // Deno's own servers, ours before them, and what can be done with Deno alone.
  "Deno.serve": ([tls]) => Deno.serve({ ...LOOPBACK, ...tls, onListen() {} }, fetch).addr,
  "Deno.serve without TLS": () => Deno.serve({ ...LOOPBACK, onListen() {} }, fetch).addr,
  "serve() of ./deno": following(async (state) => (await deno.serve(state, LOOPBACK, fetch)).addr),
  "Deno.listenTls": ([tls]) => acceptAll(Deno.listenTls({ ...LOOPBACK, ...tls })),
  "listenTls() of ./deno": following(async (state) => acceptAll(await deno.listenTls(state, LOOPBACK))),
  "Deno.serve, the next overlapping": (pairs) => {
    const start = (index: 0 | 1, port: number) => denoServer({ port, reusePort: true, ...pairs[index] });
    return replacing(start, async (previous, next) => {
      const server = await next();
      void previous.server.shutdown();
      return server;
    });
  },
  "Deno.serve, shut down and started": (pairs) => {
    const start = (index: 0 | 1, port: number) => denoServer({ port, ...pairs[index] });
    return replacing(start, async (previous, next) => {
      const waited = new Promise((resolve) => setTimeout(resolve, OVERLAP_MS));
      await Promise.race([previous.server.shutdown(), waited]);
      return await next();
    });
  },

  // Following files.
  "Reloader, 10 ms to settle": reloading({ settleMs: 10, pollIntervalMs: NEVER_MS }),
  "Reloader, 250 ms to settle (default)": reloading({ settleMs: 250, pollIntervalMs: NEVER_MS }),
  "Reloader, no events, polling every 200 ms": reloading({ settleMs: NEVER_MS, pollIntervalMs: 200 }),
  "fs.watch and setSecureContext by hand": async (_pairs, folder) => {
    const server = createTlsServer(pairFrom(folder, "tls"), greet);
    watch(folder, () => {
      try {
        server.setSecureContext(pairFrom(folder, "tls"));
      } catch {
        // A key without its certificate: the next event brings it.
      }
    });
    return await listen(server);
  },
};

async function listen(server: Server): Promise<Started> {
  await once(server.listen(0, "127.0.0.1"), "listening");
  return { port: (server.address() as AddressInfo).port };
}

function overAcceptor(state: TlsState, use: (secure: TLSSocket) => void): Server {
  return createListener({ noDelay: true }, (socket) => {
    state.acceptor().accept(socket).then(use, () => {});
  });
}

/** A server that follows a state. */
function following(start: (state: TlsState) => Started | Promise<Started>): Start {
  return async (pairs) => {
    const configs = pairs.map((pair) => new TlsConfig(pair));
    const state = new TlsState(configs[0]!);
    const { port } = await start(state);
    return { port, swap: (index) => state.swap(configs[index]!) };
  };
}

function reloading(options: WatchOptions): Start {
  return async (_pairs, folder) => {
    const files = [join(folder, "tls.crt"), join(folder, "tls.key")] as const;
    const load = () => loadTlsConfig(...files);
    const state = new TlsState(await load());
    const reloader = new Reloader(state, load);
    const hasLooked = new Promise((resolve) => reloader.addEventListener("unchanged", resolve, { once: true }));
    // First, as a reloader keeps no process alive.
    const started = await listen(overAcceptor(state, greet));
    reloader.watch(files, options);
    await hasLooked;
    return started;
  };
}

/** One server after the other on the same port. */
async function replacing<Server extends { readonly port: number }>(
  start: (index: 0 | 1, port: number) => Server | Promise<Server>,
  replace: (previous: Server, next: () => Server | Promise<Server>) => Server | Promise<Server>,
): Promise<Started> {
  let server = await start(0, 0);
  const { port } = server;
  const swap = async (index: 0 | 1) => void (server = await replace(server, () => start(index, port)));
  return { port, swap };
}

async function denoServer(options: Pair & { port: number; reusePort?: boolean }) {
  for (let tries = 0;; tries++) {
    try {
      const server = Deno.serve({ hostname: LOOPBACK.hostname, ...options, onListen() {} }, fetch);
      return { server, port: server.addr.port };
    } catch (error) {
      // The port of a server that has shut down is not free at once.
      if (tries === 100 || !(error instanceof Deno.errors.AddrInUse)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 5));
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
  const buffer = new Uint8Array(65_536);
  for (let length; (length = await conn.read(buffer)) !== null;) {
    const request = new TextDecoder().decode(buffer.subarray(0, length));
    const body = bodyOf(request.split(" ", 2)[1]);
    const isLast = /connection: close/i.test(request);
    const head = `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${isLast ? "Connection: close\r\n" : ""}\r\n`;
    const isSmall = body.length <= 65_536;
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

function pairFrom(folder: string, name: string): Pair {
  const read = (extension: string) => readFileSync(join(folder, `${name}.${extension}`), "utf8");
  return { cert: read("crt"), key: read("key") };
}

/** What JavaScript and its runtime hold, in MiB, after garbage has been collected. */
function memory(): number {
  const { gc } = globalThis as { gc?: () => void };
  for (let count = 0; count < 3; count++) typeof Bun === "undefined" ? gc?.() : Bun.gc(true);
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / 1024 / 1024;
}

const [name = "", folder = "."] = process.argv.slice(2);
const started = await SERVERS[name]!([pairFrom(folder, "first"), pairFrom(folder, "second")], folder);
console.log(started.port);
let index: 0 | 1 = 0;
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "swap") await started.swap?.(index = index === 0 ? 1 : 0);
  console.log(line === "memory" ? memory() : index);
}
process.exit(0);
