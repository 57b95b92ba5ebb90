// The servers of rotation.ts, each an echo over HTTPS. It swaps between the two certificates of a folder whenever a line
// arrives on its standard input. Run it with: deno task demo --server acceptor
import { createServer, type RequestListener } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, createServer as createListener } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { loadTlsConfig, TlsState } from "../../mod.ts";
import { serve as serveBun } from "../../src/bun.ts";
import { type DenoTlsConn, listenTls, serve as serveDeno } from "../../src/deno.ts";
import { attach } from "../../src/node.ts";

const LOOPBACK = { hostname: "127.0.0.1", port: 0 };
/** No connection is closed for being idle: a client that stalls for 5 s would count it as dropped. */
const NEVER_IDLE = { keepAliveTimeout: 0 };
const echo: RequestListener = (request, response) => void request.pipe(response);
/** Reads the whole request first: Deno closes a connection whose request it has not seen the end of. */
const echoResponse = async (request: Request) => new Response(await request.arrayBuffer());

/** Starts a server that follows the state, and resolves to its port. */
const SERVERS: Record<string, (state: TlsState) => Promise<number>> = {
  async acceptor(state) {
    const http = createServer(NEVER_IDLE, echo);
    // Deno closes a connection after its first response if the server that it was given to does not listen.
    Object.defineProperty(http, "listening", { value: true });
    const listener = createListener({ noDelay: true }, (socket) => {
      state.acceptor().accept(socket).then((secure) => http.emit("connection", secure), console.error);
    });
    await new Promise<void>((resolve) => listener.listen(LOOPBACK.port, LOOPBACK.hostname, resolve));
    return (listener.address() as AddressInfo).port;
  },
  async https(state) {
    const server = createHttpsServer({ ...NEVER_IDLE, ...state.tls }, echo);
    attach(state, server);
    await new Promise<void>((resolve) => server.listen(LOOPBACK.port, LOOPBACK.hostname, resolve));
    return (server.address() as AddressInfo).port;
  },
  async "deno-listen"(state) {
    const listener = await listenTls(state, LOOPBACK);
    acceptAll(listener);
    return listener.addr.port;
  },
  async "deno-serve"(state) {
    return (await serveDeno(state, LOOPBACK, echoResponse)).addr.port;
  },
  async "bun-serve"(state) {
    return (await serveBun(state, { ...LOOPBACK, fetch: echoResponse })).port;
  },
};

/** An accept loop, and as much of HTTP as the echo takes. */
async function acceptAll(conns: AsyncIterable<DenoTlsConn>): Promise<void> {
  for await (const conn of conns) answerAll(conn).catch(() => {}).finally(() => closeQuietly(conn));
}

/** The native connection has closed itself when its `readable` has ended. */
function closeQuietly(conn: DenoTlsConn): void {
  try {
    conn.close();
  } catch {
    // It is closed.
  }
}

async function answerAll(conn: DenoTlsConn): Promise<void> {
  let text = "";
  const decode = (bytes: Uint8Array) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  const encode = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));
  for await (const chunk of conn.readable) {
    text += decode(chunk);
    const [head = "", length] = /^[^]*?\r\ncontent-length: (\d+)[^]*?\r\n\r\n/i.exec(text) ?? [];
    const end = head.length + Number(length);
    if (length === undefined || text.length < end) continue;
    await conn.write(encode(`HTTP/1.1 200 OK\r\ncontent-length: ${length}\r\n\r\n${text.slice(head.length, end)}`));
    text = text.slice(end);
  }
}

const [folder = ".", kind = "acceptor"] = process.argv.slice(2);
const load = (name: string) => loadTlsConfig(join(folder, `${name}.crt`), join(folder, `${name}.key`));
const configs = [await load("first"), await load("second")] as const;
const state = new TlsState(configs[0]);
const start = SERVERS[kind];
if (!start) throw new Error(`Cannot run demo: '--server' must be one of ${Object.keys(SERVERS).join(", ")}: ${kind}`);
console.log(JSON.stringify({ port: await start(state) }));

for await (const _line of createInterface({ input: process.stdin })) {
  state.swap(configs[(state.generation + 1) % 2]!);
  console.log(state.generation);
}
process.exit(0);
