import { assert, assertEquals } from "@std/assert";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { createServer } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import type { Socket } from "node:net";
import process from "node:process";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import test from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type TlsAcceptor, type TlsConfig, TlsState } from "../../mod.ts";
import * as bun from "../../src/bun.ts";
import * as deno from "../../src/deno.ts";
import { Front } from "../../src/native/front.ts";
import type { Generation, Mechanism } from "../../src/native/native_server.ts";
import { peerOf, type Peers } from "../../src/native/peers.ts";
import { listenOn } from "../../src/native/public_listener.ts";
import { relayToPort } from "../../src/native/relay.ts";
import { issueServer } from "../support/certificates.ts";
import { HttpConnection } from "../support/http.ts";
import { closed, configOf, portOf } from "../support/peers.ts";
import { ON_LINUX } from "../support/ports.ts";

const { deno: denoVersion, bun: bunVersion } = process.versions;
const ON_DENO = { skip: denoVersion ? false : "needs Deno" };
const ON_BUN = { skip: bunVersion ? false : "needs Bun" };
const LOOPBACK = { hostname: "127.0.0.1", port: 0 };
/** Times that no pause of the machine uses up. */
const HANDSHAKE_TIMEOUT_MS = 60_000;
const IDLE_SECONDS = 255;

/** How long the swaps go on. The figures in the README come from a longer run: TLS_RELOAD_SECONDS=10. */
const SWAPS = Number(process.env["TLS_RELOAD_SECONDS"] ?? 1) * 20;
const SWAP_EVERY_MS = 50;
const CERTIFICATES = 40;
const MIB = 1 << 20;
/** One for each swap, so that the transfer lasts as long as they do. */
const CHUNK = new Uint8Array(Math.ceil((64 << 20) / SWAPS)).fill(0x5a);
const BODY_BYTES = CHUNK.length * SWAPS;
const BODY_SHA256 = sha256OfChunks(SWAPS);

/** A server under test, with what it can do beside HTTP/1.1. */
interface Subject {
  readonly port: number;
  generations(): readonly Generation[];
  stop(): Promise<unknown>;
  readonly hasWebSockets: boolean;
  readonly hasHttp2: boolean;
}

type Start = (state: TlsState, isOver: () => boolean) => Promise<Subject>;

function sha256OfChunks(count: number): string {
  const hash = createHash("sha256");
  for (let chunk = 0; chunk < count; chunk++) hash.update(CHUNK);
  return hash.digest("hex");
}

function nextSwap(state: TlsState): Promise<void> {
  return new Promise((resolve) => {
    const subscription = state.subscribe(() => {
      subscription[Symbol.dispose]();
      resolve();
    });
  });
}

async function* chunkForEachSwap(state: TlsState, isOver: () => boolean): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (let chunk = 0; chunk < SWAPS; chunk++) {
    if (!isOver()) await nextSwap(state);
    yield CHUNK;
  }
}

/** What the servers have given to `/endless`. */
let taken = 0;

/** Answers for all servers of the suite. */
async function answer(request: Request, state: TlsState, isOver: () => boolean): Promise<Response> {
  switch (new URL(request.url).pathname) {
    case "/download": {
      const chunks = chunkForEachSwap(state, isOver);
      const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
        async pull(controller) {
          const { value, done } = await chunks.next();
          if (done) controller.close();
          else controller.enqueue(value);
        },
      });
      return new Response(body, { headers: { "Content-Length": String(BODY_BYTES) } });
    }
    case "/endless": {
      const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
        pull(controller) {
          taken += CHUNK.length;
          controller.enqueue(CHUNK);
        },
      }, { highWaterMark: 0 });
      return new Response(body, { headers: { "Content-Length": String(1_024 * MIB) } });
    }
    case "/upload": {
      const hash = createHash("sha256");
      for await (const chunk of request.body!) hash.update(chunk);
      return new Response(hash.digest("hex"));
    }
    default:
      return new Response("answer");
  }
}

/** Deno's own connections may write a part only. */
async function writeAll(conn: deno.DenoTlsConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

/** The least of HTTP/1.1 over a raw connection, for the accept loop. */
async function answerRaw(conn: deno.DenoTlsConn, state: TlsState, isOver: () => boolean): Promise<void> {
  let head = "";
  const buffer = new Uint8Array(65_536);
  for (let length; (length = await conn.read(buffer)) !== null;) {
    head += new TextDecoder("latin1").decode(buffer.subarray(0, length));
    const end = head.indexOf("\r\n\r\n");
    if (end < 0) continue;
    const bytes = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
    const early = Uint8Array.from(head.slice(end + 4), (letter) => letter.charCodeAt(0));
    const body = bytes > 0 ? bodyOf(conn, early, bytes) : null;
    const request = new Request(`https://localhost${head.split(" ")[1]}`, {
      method: bytes > 0 ? "POST" : "GET",
      body,
      duplex: "half",
    } as RequestInit);
    const response = await answer(request, state, isOver);
    const isLong = response.headers.has("Content-Length");
    const bodyBytes = isLong ? undefined : new Uint8Array(await response.arrayBuffer());
    const contentLength = response.headers.get("Content-Length") ?? bodyBytes!.length;
    await writeAll(conn, new TextEncoder().encode(`HTTP/1.1 200 OK\r\nContent-Length: ${contentLength}\r\n\r\n`));
    if (bodyBytes) await writeAll(conn, bodyBytes);
    else for await (const chunk of response.body!) await writeAll(conn, chunk);
    head = "";
  }
  conn.close();
}

function bodyOf(conn: deno.DenoTlsConn, early: Uint8Array<ArrayBuffer>, bytes: number): ReadableStream<Uint8Array> {
  let left = bytes - early.length;
  return new ReadableStream({
    start: (controller) => controller.enqueue(early),
    async pull(controller) {
      if (left <= 0) return controller.close();
      const buffer = new Uint8Array(65_536);
      const length = await conn.read(buffer);
      if (length === null) return controller.error(new Error("the upload was cut"));
      left -= length;
      controller.enqueue(buffer.subarray(0, length));
    },
  });
}

async function download(port: number): Promise<string> {
  const connection = await HttpConnection.open(port);
  connection.send("/download");
  const hash = createHash("sha256");
  const { headers } = await connection.head();
  for await (const bytes of connection.body(headers)) hash.update(bytes);
  connection.close();
  return hash.digest("hex");
}

async function upload(port: number, state: TlsState, isOver: () => boolean): Promise<string> {
  const connection = await HttpConnection.open(port);
  connection.socket.write(`POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${BODY_BYTES}\r\n\r\n`);
  for await (const chunk of chunkForEachSwap(state, isOver)) connection.socket.write(chunk);
  const { text } = await connection.answer();
  connection.close();
  return text;
}

/** Swaps, over and over, leave nothing behind. */
async function leavesNothing(start: Start): Promise<void> {
  const configs: TlsConfig[] = [];
  for (let index = 0; index < 2; index++) configs.push(configOf(await issueServer(`generation ${index}`)));
  const state = new TlsState(configs[0]!);
  const subject = await start(state, () => true);
  const visit = async () => {
    const connection = await HttpConnection.open(subject.port);
    assertEquals((await connection.ask("/")).text, "answer");
    connection.close();
    await closed(connection.socket);
  };
  const settled = async () => {
    await visit();
    while (subject.generations().length > 1 || subject.generations()[0]!.connections > 0) await delay(1);
    return (await readdir("/proc/self/fd")).length;
  };
  const before = await settled();
  for (let swap = 1; swap <= SWAPS; swap++) {
    state.swap(configs[swap % 2]!);
    await visit();
  }
  for (let after = Infinity; after > before;) {
    after = await settled();
    await delay(1);
  }
  await subject.stop();
}

async function keepsIdle(start: Start): Promise<void> {
  const state = new TlsState(configOf(await issueServer("first")));
  const subject = await start(state, () => true);
  // Asked at once, as a bare Bun.serve cuts a connection that has asked nothing for 10 s.
  const open = async () => {
    const connection = await HttpConnection.open(subject.port);
    assertEquals((await connection.ask("/")).text, "answer");
    return connection;
  };
  const idle: HttpConnection[] = [];
  while (idle.length < 1_000) idle.push(...await Promise.all(Array.from({ length: 50 }, open)));
  state.swap(configOf(await issueServer("second")));
  for (const connection of idle) assertEquals((await connection.ask("/")).text, "answer");
  // The handoff counts in the background.
  while (subject.generations()[0]!.connections < 1_000) await delay(1);
  assertEquals(subject.generations()[0], { generation: 0, connections: 1_000 });
  for (const connection of idle) connection.close();
  await subject.stop();
}

/** A server that would send for ever gives no more than a slow client takes. */
async function waitsForSlowReader(start: Start): Promise<void> {
  const state = new TlsState(configOf(await issueServer("slow")));
  const subject = await start(state, () => true);
  // A client of its own process, because Deno's own reads ahead of pause() without a limit.
  const args = ["s_client", "-quiet", "-connect", `127.0.0.1:${subject.port}`];
  const client = spawn("openssl", args, { stdio: ["pipe", "pipe", "ignore"] });
  const before = taken;
  let read = 0;
  client.stdout.on("data", ({ length }) => read += length);
  client.stdin.write("GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n");
  for (let round = 1; round <= 4; round++) {
    while (read < round * 8 * MIB) await delay(1);
    process.kill(client.pid!, "SIGSTOP");
    for (let last = -1; taken !== last; await delay(100)) last = taken;
    const ahead = taken - before - read;
    // What the buffers of the system and of three sockets take.
    assert(ahead < 32 * MIB, `${ahead} bytes were taken ahead of the client`);
    process.kill(client.pid!, "SIGCONT");
  }
  process.kill(client.pid!, "SIGKILL");
  await once(client, "close");
  await subject.stop();
}

/** What must hold for every native server: nothing is lost, nothing is stale, nothing is cut. */
async function losesNothing(start: Start): Promise<void> {
  const configs: TlsConfig[] = [];
  for (let index = 0; index < CERTIFICATES; index++) configs.push(configOf(await issueServer(`generation ${index}`)));
  const state = new TlsState(configs[0]!);
  let isOver = false;
  const subject = await start(state, () => isOver);
  const { port } = subject;
  const until = async (step: () => Promise<void>) => {
    while (!isOver) await step();
  };

  let fresh = 0;
  const connectAnew = async () => {
    const oldest = state.generation;
    const connection = await HttpConnection.open(port);
    const newest = state.generation;
    const served = configs.findIndex(({ leaf }) => leaf.fingerprint256 === connection.fingerprint256);
    const late = (served - oldest % CERTIFICATES + CERTIFICATES) % CERTIFICATES;
    if (late > newest - oldest) throw new Error(`stale: served ${served} at ${oldest} to ${newest}`);
    assertEquals((await connection.ask("/")).text, "answer");
    connection.close();
    fresh++;
  };
  const keptAlive = async () => {
    const connection = await HttpConnection.open(port);
    await until(async () => assertEquals((await connection.ask("/")).text, "answer"));
    connection.close();
  };
  const halfSent = async () => {
    const connection = await HttpConnection.open(port);
    await until(async () => {
      connection.socket.write("GET / HTTP/1.1\r\nHo");
      // For a few swaps only, as a bare Bun.serve cuts a request that is not whole after 10 s.
      for (let swap = 0; swap < 4 && !isOver; swap++) await nextSwap(state);
      connection.socket.write("st: localhost\r\n\r\n");
      assertEquals((await connection.answer()).text, "answer");
    });
    connection.close();
  };
  const webSocket = async () => {
    const connection = await HttpConnection.open(port);
    await connection.upgrade("/chat");
    await until(async () => {
      connection.sendText("hello");
      assertEquals(await connection.receiveText(), "hello");
    });
    connection.close();
  };
  const http2 = async () => {
    const session = connectHttp2(`https://localhost:${port}`, { rejectUnauthorized: false });
    await until(async () => {
      let text = "";
      for await (const chunk of session.request({ ":path": "/" })) text += chunk;
      assertEquals(text, "answer");
    });
    session.destroy();
  };
  const times = (count: number, run: () => Promise<unknown>) => Array.from({ length: count }, run);

  const idle = await Promise.all(times(8, () => HttpConnection.open(port)) as Promise<HttpConnection>[]);
  for (const connection of idle) assertEquals((await connection.ask("/")).text, "answer");
  const work = Promise.all([
    ...times(16, () => until(connectAnew)),
    ...times(8, keptAlive),
    ...times(8, halfSent),
    ...times(subject.hasWebSockets ? 4 : 0, webSocket),
    ...times(subject.hasHttp2 ? 4 : 0, http2),
    ...times(2, async () => assertEquals(await download(port), BODY_SHA256)),
    ...times(2, async () => assertEquals(await upload(port, state, () => isOver), BODY_SHA256)),
  ]);
  const swaps = (async () => {
    for (let swap = 1; swap <= SWAPS; swap++) {
      await delay(SWAP_EVERY_MS);
      state.swap(configs[swap % CERTIFICATES]!);
    }
    isOver = true;
    state.swap(state.current());
  })();
  await Promise.all([work, swaps]);
  for (const connection of idle) assertEquals((await connection.ask("/")).text, "answer");
  for (const connection of idle) connection.close();
  while (subject.generations().length > 1) await delay(1);
  if (process.env["TLS_RELOAD_SECONDS"]) console.log(`${SWAPS} swaps, ${fresh} fresh connections, 0 failed, 0 stale`);
  await subject.stop();
}

const startRelayed: Start = async (state, isOver) => {
  const peers: Peers = new Map();
  const inner = createServer(async (request, response) => {
    const body = request.method === "POST" ? Readable.toWeb(request) as ReadableStream<Uint8Array> : null;
    const init = { method: request.method!, body, duplex: "half" } as RequestInit;
    const answered = await answer(new Request(`https://localhost${request.url}`, init), state, isOver);
    response.writeHead(answered.status, Object.fromEntries(answered.headers));
    await pipeline(Readable.fromWeb(answered.body as never), response).catch(() => {});
  });
  inner.keepAliveTimeout = IDLE_SECONDS * 1_000;
  await new Promise<void>((resolve) => inner.listen(0, "127.0.0.1", resolve));
  const start = (acceptor: TlsAcceptor) => ({
    server: undefined,
    serve(client: Socket) {
      const peer = peerOf(client);
      acceptor.accept(client, { handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS })
        .then((secure) => relayToPort(secure, peer, portOf(inner), peers), () => {});
    },
  });
  const front = await Front.open(state, { listen: listenOn(LOOPBACK), start });
  return {
    port: front.address.port,
    generations: () => front.generations,
    async stop() {
      front.destroy();
      inner.close();
      await front.finished;
    },
    hasWebSockets: false,
    hasHttp2: false,
  };
};

const startDenoListen = (mechanism: Mechanism): Start => async (state, isOver) => {
  const listener = await deno.listenTls(state, {
    ...LOOPBACK,
    mechanism,
    ...(mechanism === "front" && { handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS }),
  });
  const loop = (async () => {
    for await (const conn of listener) answerRaw(conn, state, isOver).catch(() => conn.close());
  })();
  return {
    port: listener.addr.port,
    generations: () => listener.generations,
    stop: () => {
      listener.close();
      return loop;
    },
    hasWebSockets: false,
    hasHttp2: false,
  };
};

const startDenoServe = (mechanism: Mechanism): Start => async (state, isOver) => {
  const options = {
    ...LOOPBACK,
    mechanism,
    ...(mechanism === "front" && { handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS }),
  };
  const server = await deno.serve(state, options, (request) => {
    if (request.headers.get("upgrade") !== "websocket") return answer(request, state, isOver);
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.onmessage = ({ data }) => socket.send(data);
    return response;
  });
  return {
    port: server.addr.port,
    generations: () => server.generations,
    stop: () => server.shutdown(),
    hasWebSockets: true,
    hasHttp2: true,
  };
};

const startBunServe = (mechanism: Mechanism): Start => async (state, isOver) => {
  const server = await bun.serve(state, {
    ...LOOPBACK,
    mechanism,
    fetch: (request, server) => server.upgrade(request) ? undefined : answer(request, state, isOver),
    idleTimeout: IDLE_SECONDS,
    websocket: { message: (socket, message) => void socket.send(message) },
  });
  return {
    port: server.port,
    generations: () => server.generations,
    stop: () => server.stop(true),
    hasWebSockets: true,
    hasHttp2: false,
  };
};

const CHECKS = [
  ["loses nothing while the certificate is swapped every 50 ms", losesNothing],
  ["leaves nothing behind after many swaps", leavesNothing],
  ["keeps 1,000 idle connections through a swap", keepsIdle],
  ["waits for a slow reader", waitsForSlowReader],
] as const;
const SUBJECTS = [
  ["A front with relayToPort() before node:http", startRelayed, {}],
  ["listenTls() on Deno by handoff", startDenoListen("handoff"), denoVersion ? ON_LINUX : ON_DENO],
  ["listenTls() on Deno by front", startDenoListen("front"), ON_DENO],
  ["serve() on Deno by handoff", startDenoServe("handoff"), denoVersion ? ON_LINUX : ON_DENO],
  ["serve() on Deno by front", startDenoServe("front"), ON_DENO],
  ["serve() on Bun by handoff", startBunServe("handoff"), bunVersion ? ON_LINUX : ON_BUN],
  ["serve() on Bun by front", startBunServe("front"), ON_BUN],
] as const;

for (const [name, start, options] of SUBJECTS) {
  for (const [criterion, check] of CHECKS) test(`${name} ${criterion}`, options, () => check(start));
}
