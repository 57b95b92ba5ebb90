import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { connect as connectHttp2 } from "node:http2";
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import process from "node:process";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { TlsReloadError, TlsState } from "../../mod.ts";
import { type DenoTlsConn, listenTls, listenTlsOptions, serve } from "../../src/deno.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { HttpConnection } from "../support/http.ts";
import { closed, configOf, dial, dialTcp, visit } from "../support/peers.ts";
import { connectedFrom, listeningPorts, ON_LINUX } from "../support/ports.ts";
import { until } from "../support/tcp.ts";

/** Where to listen, and a time for handshakes that no pause of the machine uses up. */
const LOOPBACK = { hostname: "127.0.0.1", port: 0, handshakeTimeoutMs: 60_000 };
const MIB = 1 << 20;
const PERMISSION_CHILD = fileURLToPath(new URL("permission_child.ts", import.meta.url));
const isDeno = process.versions["deno"] !== undefined;
/** What needs the native servers of Deno runs on Deno. */
const ON_DENO = { skip: isDeno ? false : "needs Deno" };

async function newState(): Promise<TlsState> {
  return new TlsState(configOf(await issueServer("deno")));
}

/** Runs a server for each connection until the listener is closed. */
function accepts(listener: AsyncIterable<DenoTlsConn>, handle: (conn: DenoTlsConn) => Promise<unknown>): Promise<void> {
  return (async () => {
    for await (const conn of listener) handle(conn).catch(() => conn.close());
  })();
}

const echo = (conn: DenoTlsConn) => conn.readable.pipeTo(conn.writable);

test("listenTls() and serve() say what they need on another runtime", { skip: isDeno && "runs on Deno" }, async () => {
  const state = await newState();
  for (const start of [() => listenTls(state, LOOPBACK), () => serve(state, LOOPBACK, () => new Response())]) {
    const error = await assertRejects(start, TlsReloadError, "it needs Deno");
    assertEquals(error.code, "UNSUPPORTED");
  }
});

test("listenTlsOptions() gives what Deno.listenTls takes, the key decrypted and hidden", async () => {
  const issued = await issueServer("options");
  const options = listenTlsOptions(configOf(issued, { alpnProtocols: ["h2"] }));
  assertEquals(Object.keys(options).sort(), ["alpnProtocols", "cert", "key"]);
  assertEquals(options.alpnProtocols, ["h2"]);
  assert(!JSON.stringify(options).includes("BEGIN PRIVATE KEY"));
});

test("listenTlsOptions() refuses what the native servers of Deno do not have", async () => {
  const issued = await issueServer("options");
  const clientAuth = { ca: (await issueCa("ca")).cert, mode: "required" } as const;
  for (const options of [{ clientAuth }, { minVersion: "TLSv1.3" } as const]) {
    const error = assertThrows(() => listenTlsOptions(configOf(issued, options)), TlsReloadError);
    assertEquals(error.code, "UNSUPPORTED");
  }
});

test("Deno.listenTls() serves with listenTlsOptions()", ON_DENO, async () => {
  const issued = await issueServer("native");
  const listener = Deno.listenTls({ ...LOOPBACK, ...listenTlsOptions(configOf(issued)) });
  const accepted = listener.accept().then((conn) => conn.handshake().then(() => conn.close()));
  const client = await dial(listener.addr.port);
  assertEquals(client.getPeerCertificate().fingerprint256, issued.fingerprint256);
  await accepted;
  client.destroy();
  listener.close();
});

test("listenTls() serves the new certificate after a swap and keeps the connections", ON_DENO, async () => {
  const [first, second] = [await issueServer("first"), await issueServer("second")];
  const state = new TlsState(configOf(first));
  const listener = await listenTls(state, LOOPBACK);
  const done = accepts(listener, echo);
  const before = await dial(listener.addr.port);
  state.swap(configOf(second));
  const after = await dial(listener.addr.port);
  assertEquals(before.getPeerCertificate().fingerprint256, first.fingerprint256);
  assertEquals(after.getPeerCertificate().fingerprint256, second.fingerprint256);
  before.write("still here");
  assertEquals(String((await once(before, "data"))[0]), "still here");
  assertEquals(listener.generations, [{ generation: 0, connections: 1 }, { generation: 1, connections: 1 }]);
  before.destroy();
  after.destroy();
  listener.close();
  await done;
});

test("listenTls() yields connections with the surface of Deno.TlsConn", ON_DENO, async () => {
  const state = new TlsState(configOf(await issueServer("surface"), { alpnProtocols: ["echo"] }));
  const listener = await listenTls(state, LOOPBACK);
  const [conn, client] = await Promise.all([
    listener.accept(),
    dial(listener.addr.port, { ALPNProtocols: ["echo"] }),
  ]);
  client.allowHalfOpen = true;
  assertEquals(conn.remoteAddr, { transport: "tcp", hostname: "127.0.0.1", port: client.localPort! });
  assertEquals(conn.localAddr, listener.addr);
  assertEquals(await conn.handshake(), { alpnProtocol: "echo" });
  conn.setNoDelay();
  conn.setKeepAlive();
  conn.unref();
  conn.ref();
  client.write("abcde");
  const buffer = new Uint8Array(3);
  assertEquals(await conn.read(buffer), 3);
  assertEquals(String(Buffer.from(buffer)), "abc");
  const reader = conn.readable.getReader({ mode: "byob" });
  assertEquals((await reader.read(new Uint8Array(8))).value, new Uint8Array([100, 101]));
  reader.releaseLock();
  client.end();
  assertEquals(await conn.read(buffer), null);
  assertEquals(await conn.write(new Uint8Array(5)), 5);
  await conn.closeWrite();
  assertEquals(Buffer.concat(await client.toArray()).length, 5);
  conn.close();
  await assertRejects(() => conn.read(buffer), Deno.errors.BadResource);
  await assertRejects(() => conn.write(buffer), Deno.errors.BadResource);
  client.destroy();
  listener.close();
});

test("listenTls() carries every byte, whichever of the two reads slowly", ON_DENO, async () => {
  const listener = await listenTls(await newState(), LOOPBACK);
  const done = accepts(listener, echo);
  const client = await dial(listener.addr.port);
  const sent = crypto.getRandomValues(new Uint8Array(65_536));
  let [received, isRight] = [0, true];
  client.on("data", (chunk: Buffer) => {
    for (const byte of chunk) isRight &&= byte === sent[received++ % sent.length];
  });
  for (let chunks = 0; chunks < 4 * MIB / sent.length; chunks++) {
    if (!client.write(sent)) await once(client, "drain");
  }
  while (received < 4 * MIB) await once(client, "data");
  assert(isRight);
  client.destroy();
  listener.close();
  await done;
});

test("listenTls() goes on after bad clients and beside silent ones, and reports them", ON_DENO, async () => {
  const errors: unknown[] = [];
  const onClientError = (error: unknown) => errors.push((error as TlsReloadError).code);
  const listener = await listenTls(await newState(), { ...LOOPBACK, onClientError });
  const done = accepts(listener, echo);
  const silent = await dialTcp(listener.addr.port);
  const garbage = await dialTcp(listener.addr.port);
  garbage.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const aborted = await dialTcp(listener.addr.port);
  aborted.resetAndDestroy();
  await closed(garbage);
  const client = await dial(listener.addr.port);
  client.write("on");
  assertEquals(String((await once(client, "data"))[0]), "on");
  await until(() => errors.length > 1);
  assertEquals(errors, ["HANDSHAKE_FAILED", "HANDSHAKE_FAILED"]);
  silent.destroy();
  client.destroy();
  listener.close();
  await done;
});

test("listenTls() lets go of a silent client after handshakeTimeoutMs", ON_DENO, async () => {
  const reported = Promise.withResolvers<unknown>();
  const options = { ...LOOPBACK, handshakeTimeoutMs: 1, onClientError: reported.resolve };
  const listener = await listenTls(await newState(), options);
  const done = accepts(listener, echo);
  await closed(await dialTcp(listener.addr.port));
  assertEquals((await reported.promise as TlsReloadError).code, "HANDSHAKE_TIMEOUT");
  listener.close();
  await done;
});

test("listenTls() keeps for accept() whoever has come before it is called", ON_DENO, async () => {
  const listener = await listenTls(await newState(), { ...LOOPBACK, tcpBacklog: 1 });
  const clients = [];
  for (let count = 0; count < 8; count++) clients.push(await dial(listener.addr.port));
  const done = accepts(listener, echo);
  for (const client of clients) {
    client.write("on");
    assertEquals(String((await once(client, "data"))[0]), "on");
    client.destroy();
  }
  listener.close();
  await done;
});

test("listenTls() can close a connection whose client takes nothing", ON_DENO, async () => {
  const listener = await listenTls(await newState(), LOOPBACK);
  const client = spawn("openssl", ["s_client", "-connect", `127.0.0.1:${listener.addr.port}`], {
    stdio: ["pipe", "ignore", "ignore"],
  });
  const conn = await listener.accept();
  process.kill(client.pid!, "SIGSTOP");
  const written = conn.write(new Uint8Array(64 * MIB));
  conn.close();
  await assertRejects(() => written, Error);
  process.kill(client.pid!, "SIGKILL");
  await once(client, "close");
  listener.close();
});

test("listenTls() asks for client certificates", ON_DENO, async () => {
  const ca = await issueCa("clients");
  const config = configOf(await issueServer("mutual"), { clientAuth: { ca: ca.cert, mode: "required" } });
  const listener = await listenTls(new TlsState(config), LOOPBACK);
  const done = accepts(listener, echo);
  const trusted = await issueClient("trusted", { issuer: ca });
  const foreign = await issueClient("foreign", { issuer: await issueCa("foreign") });
  const { port } = listener.addr;
  assertEquals((await visit(port, { cert: trusted.cert, key: trusted.key })).greeting, "GET / HTTP/1.0\r");
  assertEquals((await visit(port, { cert: foreign.cert, key: foreign.key })).greeting, undefined);
  assertEquals((await visit(port)).greeting, undefined);
  listener.close();
  await done;
});

test("listenTls() ends its loop and its waiting accept() when it is closed", ON_DENO, async () => {
  const listener = await listenTls(await newState(), LOOPBACK);
  const loop = accepts(listener, echo);
  const waiting = assertRejects(() => listener.accept(), Deno.errors.BadResource);
  listener.close();
  await Promise.all([loop, waiting]);
  await assertRejects(() => listener.accept(), Deno.errors.BadResource);
});

test("serve() answers over HTTP/1.1 and HTTP/2 with the client's address and an https URL", ON_DENO, async () => {
  const server = await serve(await newState(), LOOPBACK, (request, info) => {
    return Response.json([request.method, request.url, request.clone().url, info.remoteAddr]);
  });
  const { port } = server.addr;
  const connection = await HttpConnection.open(port);
  const address = { transport: "tcp", hostname: "127.0.0.1", port: connection.socket.localPort };
  const url = `https://localhost:${port}/path?query`;
  for (let request = 0; request < 3; request++) {
    assertEquals(JSON.parse((await connection.ask("/path?query")).text), ["GET", url, url, address]);
  }
  connection.close();
  const session = connectHttp2(`https://localhost:${port}`, { rejectUnauthorized: false });
  const stream = session.request({ ":path": "/path?query" });
  let text = "";
  for await (const chunk of stream) text += chunk;
  assertEquals(session.alpnProtocol, "h2");
  assertEquals(JSON.parse(text), ["GET", url, url, { ...address, port: session.socket.localPort }]);
  session.destroy();
  await server.shutdown();
});

test("serve() serves the new certificate after a swap and keeps connections and WebSockets", ON_DENO, async () => {
  const [first, second] = [await issueServer("first"), await issueServer("second")];
  const state = new TlsState(configOf(first));
  const server = await serve(state, LOOPBACK, (request) => {
    if (request.headers.get("upgrade") !== "websocket") return new Response("answer");
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.onmessage = ({ data }) => socket.send(`you said ${data}`);
    return response;
  });
  const kept = await HttpConnection.open(server.addr.port);
  const chat = await HttpConnection.open(server.addr.port);
  await chat.upgrade("/chat");
  state.swap(configOf(second));
  const fresh = await HttpConnection.open(server.addr.port);
  assertEquals(kept.fingerprint256, first.fingerprint256);
  assertEquals(fresh.fingerprint256, second.fingerprint256);
  assertEquals((await kept.ask("/")).text, "answer");
  assertEquals((await fresh.ask("/")).text, "answer");
  chat.sendText("hello");
  assertEquals(await chat.receiveText(), "you said hello");
  for (const connection of [kept, fresh, chat]) connection.close();
  await server.shutdown();
});

test("serve() lets nobody in who finds its inner port", isDeno ? ON_LINUX : ON_DENO, async () => {
  const ca = await issueCa("clients");
  const config = configOf(await issueServer("mutual"), { clientAuth: { ca: ca.cert, mode: "required" } });
  const asked: string[] = [];
  const before = await listeningPorts();
  const server = await serve(new TlsState(config), LOOPBACK, (request) => {
    asked.push(new URL(request.url).pathname);
    return new Response();
  });
  const inner = (await listeningPorts()).filter((port) => !before.includes(port) && port !== server.addr.port);
  assertEquals(inner.length, 1);
  const { cert, key } = await issueClient("good", { issuer: ca });
  const good = await HttpConnection.open(server.addr.port, { cert, key });
  assertEquals((await good.ask("/good")).status, 200);
  const [goodPort] = await connectedFrom(inner[0]!);
  // All of 127.0.0.0/8 is this machine, so a stranger may even have the port of a good client.
  for (const from of [{}, { localAddress: "127.0.0.2", localPort: goodPort! }]) {
    const stranger = connectTcp({ host: "127.0.0.1", port: inner[0]!, ...from });
    stranger.write("GET /stranger HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n");
    assert(String((await once(stranger, "data"))[0]).startsWith("HTTP/1.1 421 "));
    assertEquals(stranger.localPort === goodPort, "localPort" in from);
    stranger.destroy();
  }
  assertEquals(asked, ["/good"]);
  good.close();
  await server.shutdown();
});

test("serve() takes the options of Deno.serve", ON_DENO, async () => {
  const abort = new AbortController();
  const listening = Promise.withResolvers<Deno.NetAddr>();
  const server = await serve(await newState(), {
    ...LOOPBACK,
    signal: abort.signal,
    onListen: listening.resolve,
    onError: (error) => new Response((error as Error).message, { status: 500 }),
  }, () => {
    throw new Error("thrown");
  });
  assertEquals(await listening.promise, server.addr);
  const connection = await HttpConnection.open(server.addr.port);
  const { status, text } = await connection.ask("/");
  assertEquals([status, text], [500, "thrown"]);
  abort.abort();
  await closed(connection.socket);
  await server.finished;
});

test(
  "serve() ends at once with a signal that is aborted, and bears one that is aborted after shutdown()",
  ON_DENO,
  async () => {
    const handler = () => new Response();
    await (await serve(await newState(), { ...LOOPBACK, signal: AbortSignal.abort() }, handler)).finished;
    const abort = new AbortController();
    const server = await serve(await newState(), { ...LOOPBACK, signal: abort.signal }, handler);
    await server.shutdown();
    abort.abort();
    await server.finished;
  },
);

test("serve() refuses options that the state or the front decides", ON_DENO, async () => {
  for (const name of ["cert", "key", "path", "reusePort"]) {
    const start = async () => serve(await newState(), { ...LOOPBACK, [name]: "" }, () => new Response());
    await assertRejects(start, TypeError, `'${name}' is not an option`);
  }
});

test("serve() tells that a response has been sent", ON_DENO, async () => {
  const completed = Promise.withResolvers<void>();
  const server = await serve(await newState(), LOOPBACK, (_request, info) => {
    info.completed.then(completed.resolve);
    return new Response("sent");
  });
  const connection = await HttpConnection.open(server.addr.port);
  assertEquals((await connection.ask("/")).text, "sent");
  await completed.promise;
  connection.close();
  await server.shutdown();
});

test("serve() and listenTls() reject with the error of the system when the port is taken", ON_DENO, async () => {
  const state = await newState();
  const listener = await listenTls(state, LOOPBACK);
  const { port } = listener.addr;
  for (const start of [() => listenTls(state, { port }), () => serve(state, { port }, () => new Response())]) {
    const error = await start().then(() => undefined, (error) => error);
    assertInstanceOf(error, Error);
    assertEquals((error as NodeJS.ErrnoException).code, "EADDRINUSE");
  }
  listener.close();
});

test("serve() and listenTls() say which permission is missing", ON_DENO, async () => {
  const { cert, key } = await issueServer("permissions");
  const listen = async (kind: "serve" | "listenTls", ...permissions: string[]) => {
    // Not by node:child_process, which hands on the permissions of this process.
    const args = ["run", "--no-prompt", ...permissions, PERMISSION_CHILD];
    const child = new Deno.Command(Deno.execPath(), { args, stdin: "piped", stdout: "piped" }).spawn();
    await new Response(JSON.stringify({ cert, key, kind, port: 0 })).body!.pipeTo(child.stdin);
    const said = new TextDecoder().decode((await child.output()).stdout);
    return said.trim().replace(/ on Deno [\d.]+/, "");
  };
  const missing = (host: string) => `UNSUPPORTED Cannot serve: it needs the permission --allow-net=${host}`;
  const [its, inner] = ["127.0.0.1:0", "127.0.0.1"];
  assertEquals(await listen("listenTls"), missing(its));
  assertEquals(await listen("listenTls", `--allow-net=${its}`), "listened");
  assertEquals(await listen("serve"), missing(its));
  assertEquals(await listen("serve", `--allow-net=${its}`), missing(inner));
  assertEquals(await listen("serve", `--allow-net=${inner}`), "listened");
});
