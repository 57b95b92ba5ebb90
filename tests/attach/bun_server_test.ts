// Servers of Bun follow by the handoff: what the application sees through swaps, and what its server answers.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect as connectHttp2, createSecureServer } from "node:http2";
import { createServer as createHttpsServer, type Server as HttpsServer } from "node:https";
import { createServer as createTcpServer, type Socket } from "node:net";
import process from "node:process";
import { Duplex } from "node:stream";
import test from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import {
  connect,
  type ConnectionOptions,
  createServer as createTlsServer,
  type Server,
  type TLSSocket,
} from "node:tls";
import { fileURLToPath } from "node:url";
import express from "express";
import { WebSocket, WebSocketServer } from "ws";
import { type TlsConfig, TlsReloadError, TlsState } from "../../mod.ts";
import { sharedBy } from "../../src/accept/tls_state.ts";
import { attach } from "../../src/node.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { closed, configOf, dial, dialTcp, OpensslClient, portOf } from "../support/peers.ts";
import { until } from "../support/tcp.ts";

const NOT_BUN = process.versions["bun"] === undefined && "only servers of Bun are handed over";
const issued = [await issueServer("first"), await issueServer("second")] as const;
const configs = [configOf(issued[0]), configOf(issued[1])] as const;
const [oldCa, newCa] = await Promise.all([issueCa("old CA"), issueCa("new CA")]);
const client = await issueClient("client", { issuer: oldCa });
const newClient = await issueClient("new client", { issuer: newCa });
const requiring = (at: 0 | 1, ...cas: { cert: string }[]) =>
  configOf(issued[at], { clientAuth: { mode: "required", ca: cas.map(({ cert }) => cert).join("") } });

/** Swaps ten times, with a look after each. */
async function swapTenTimes(state: TlsState, look: (fingerprint256: string) => Promise<void>): Promise<void> {
  for (let swap = 1; swap <= 10; swap++) {
    state.swap(configs[swap % 2]!);
    await look(issued[swap % 2]!.fingerprint256);
  }
}

async function listening(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return portOf(server);
}

/** The fingerprint of the certificate that a new connection is served. */
async function served(port: number): Promise<string> {
  const socket = await dial(port);
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256;
}

function close(server: Server): Promise<void> {
  const isClosed = new Promise<void>((resolve) => server.close(() => resolve()));
  (server as HttpsServer).closeAllConnections?.();
  return isClosed;
}

/** Sends a request on a connection and reads its answer, which ends with this text. */
function ask(socket: Socket, end: string, head = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const onData = (chunk: Buffer) => {
      if (!(text += chunk).endsWith(end)) return;
      socket.removeListener("data", onData).removeListener("close", onClose);
      resolve(text);
    };
    const onClose = () => reject(new Error(`closed after: ${text}`));
    socket.on("data", onData).once("close", onClose);
    socket.write(head);
  });
}

const connectionsOf = (server: Server) =>
  new Promise<number>((resolve) => server.getConnections((_error, count) => resolve(count)));

test(
  "attach() serves Express through ten swaps, with keep-alive connections of every generation",
  { skip: NOT_BUN },
  async () => {
    const state = new TlsState(configs[0]);
    const app = express();
    app.get("/", (_request: unknown, response: { send(text: string): void }) => response.send("from Express"));
    const server = createHttpsServer(app);
    attach(state, server);
    const port = await listening(server);
    const lasting: TLSSocket[] = [];
    await swapTenTimes(state, async (fingerprint256) => {
      const socket = await dial(port);
      assertEquals(socket.getPeerCertificate().fingerprint256, fingerprint256);
      lasting.push(socket);
      for (const each of lasting) await ask(each, "from Express");
    });
    assertEquals(await connectionsOf(server), 10);
    await close(server);
  },
);

test("attach() serves WebSockets of ws through ten swaps, and ends none", { skip: NOT_BUN }, async () => {
  const state = new TlsState(configs[0]);
  const server = createHttpsServer();
  const sockets = new WebSocketServer({ server });
  sockets.on("connection", (socket: WebSocket) => {
    socket.on("message", (message: Buffer) => socket.send(`echo ${message}`));
  });
  attach(state, server);
  const port = await listening(server);
  const lasting: WebSocket[] = [];
  await swapTenTimes(state, async (fingerprint256) => {
    assertEquals(await served(port), fingerprint256);
    const socket = new WebSocket(`wss://127.0.0.1:${port}`, { rejectUnauthorized: false });
    await once(socket, "open");
    lasting.push(socket);
    for (const each of lasting) {
      each.send("hello");
      assertEquals(String((await once(each, "message"))[0]), "echo hello");
    }
  });
  assertEquals(sockets.clients.size, 10);
  const ended = lasting.map((socket) => once(socket, "close"));
  for (const socket of lasting) socket.terminate();
  await Promise.all(ended);
  await close(server);
});

test(
  "attach() serves HTTP/2 sessions and HTTP/1.1 of one http2 server through ten swaps",
  { skip: NOT_BUN },
  async () => {
    const state = new TlsState(configs[0]);
    const server = createSecureServer({ allowHTTP1: true }, (request, response) => {
      response.end(`HTTP/${request.httpVersion}`);
    });
    let sessions = 0;
    server.on("session", () => sessions++);
    attach(state, server);
    const port = await listening(server);
    const lasting: ReturnType<typeof connectHttp2>[] = [];
    await swapTenTimes(state, async () => {
      const session = connectHttp2(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
      lasting.push(session);
      for (const each of lasting) {
        let text = "";
        for await (const chunk of each.request({ ":path": "/" }).setEncoding("utf8")) text += chunk;
        assertEquals(text, "HTTP/2.0");
      }
      const http1 = await dial(port, { ALPNProtocols: ["http/1.1"] });
      await ask(http1, "HTTP/1.1");
      http1.destroy();
    });
    assertEquals(sessions, 10);
    for (const session of lasting) session.destroy();
    await close(server);
  },
);

test("an attached server forwards what its application listens for, also when it begins to listen later", {
  skip: NOT_BUN,
}, async () => {
  const state = new TlsState(configs[0]);
  const server = createHttpsServer((_request, response) => response.end("answered"));
  attach(state, server);
  const port = await listening(server);
  const lines: string[] = [];
  const talk = async (head: string) => {
    const socket = await dial(port);
    const [answer] = await Promise.all([once(socket, "data"), socket.write(head)]);
    lines.push(String(answer[0]).split("\r\n")[0]!);
    socket.destroy();
  };
  const continued = "POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n";
  state.swap(configs[1]);
  await talk(continued);
  const refuse = (_request: unknown, response: { writeHead(code: number): { end(): void } }) => {
    response.writeHead(417).end();
  };
  server.on("checkContinue", refuse);
  await talk(continued);
  state.swap(configs[0]);
  await talk(continued);
  server.removeListener("checkContinue", refuse);
  await talk(continued);
  server.on("clientError", (_error, socket) => socket.end("HTTP/1.1 400 Mine\r\n\r\n"));
  await talk("NONSENSE\r\n\r\n");
  server.on("upgrade", (_request, socket) => socket.write("HTTP/1.1 101 Mine\r\n\r\n"));
  await talk("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: mine\r\n\r\n");
  assertEquals(lines, [
    "HTTP/1.1 100 Continue",
    "HTTP/1.1 417 Expectation Failed",
    "HTTP/1.1 417 Expectation Failed",
    "HTTP/1.1 100 Continue",
    "HTTP/1.1 400 Mine",
    "HTTP/1.1 101 Mine",
  ]);
  await close(server);
});

test(
  "an attached server answers for all generations, and listens again after it was closed",
  { skip: NOT_BUN },
  async () => {
    const state = new TlsState(configs[0]);
    const server = createHttpsServer((_request, response) => response.end("answered"));
    const seen: string[] = [];
    for (const event of ["listening", "connection", "secureConnection", "close"]) {
      server.on(
        event,
        () => seen.push(event),
      );
    }
    const { ready } = attach(state, server);
    await ready;
    assertEquals([server.listening, server.address()], [false, null]);
    for (let round = 0; round < 2; round++) {
      const port = await listening(server);
      assertThrows(() => server.listen(0), Error, "more than once");
      const idle = await dial(port);
      await ask(idle, "answered");
      state.swap(configs[1]);
      const kept = await dial(port);
      await ask(kept, "answered");
      assertEquals(server.address(), { address: "127.0.0.1", family: "IPv4", port });
      assertEquals([server.listening, await connectionsOf(server)], [true, 2]);
      server.closeIdleConnections();
      await Promise.all([closed(idle), closed(kept)]);
      const last = await dial(port);
      await ask(last, "answered");
      // Idle connections are closed with the server.
      const isClosed = Promise.all([once(server, "close"), closed(last)]);
      server.close();
      assertEquals([server.listening, server.address()], [false, null]);
      await assertRejects(() => dial(port), Error);
      await isClosed;
      assertEquals(await connectionsOf(server), 0);
    }
    const round = ["listening", ...Array(3).fill(["connection", "secureConnection"]).flat(), "close"];
    // The proofs of the configurations are no connections of the application.
    assertEquals(seen, [...round, ...round]);
    const [error] = await new Promise<[NodeJS.ErrnoException]>((resolve) =>
      server.close((...args) => resolve(args as never))
    );
    assertEquals(error.code, "ERR_SERVER_NOT_RUNNING");
  },
);

test("an attached server emits the error of the system if it cannot listen, and closes while it begins to", {
  skip: NOT_BUN,
}, async () => {
  const other = createTcpServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  const server = createHttpsServer();
  attach(new TlsState(configs[0]), server);
  server.listen(portOf(other as never), "127.0.0.1");
  assertEquals((await once(server, "error"))[0].code, "EADDRINUSE");
  other.close();
  server.listen(0, "127.0.0.1", () => assert(false, "it does not listen"));
  await new Promise<void>((resolve) => server.close(() => resolve()));
  assertEquals(server.listening, false);
});

test(
  "an attached server changes versions, cipher suites and groups with the configuration",
  { skip: NOT_BUN },
  async () => {
    const ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384";
    const clientAuth = { mode: "required", ca: oldCa.cert } as const;
    const cases: [Parameters<typeof configOf>[1], refused: ConnectionOptions | undefined, protocol: string][] = [
      [{ maxVersion: "TLSv1.2" }, { minVersion: "TLSv1.3" }, "TLSv1.2"],
      [{ minVersion: "TLSv1.3" }, { maxVersion: "TLSv1.2" }, "TLSv1.3"],
      [{ ecdhCurve: "P-384" }, { ecdhCurve: "P-256" }, "TLSv1.3"],
      [{ ciphers, maxVersion: "TLSv1.2" }, { ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256" }, "TLSv1.2"],
      [{ maxVersion: "TLSv1.2", clientAuth }, undefined, "TLSv1.2"],
    ];
    for (const server of [createHttpsServer(), createTlsServer()]) {
      const state = new TlsState(configs[0]);
      const errors: string[] = [];
      const { cert, key } = client;
      const { mechanism } = attach(state, server, { onTlsError: ({ code }) => errors.push(code) });
      assertEquals(mechanism, "handoff");
      const port = await listening(server);
      for (const [options, refused, protocol] of cases) {
        state.swap(configOf(issued[1], options));
        const admitted = await dial(port, { cert, key });
        assertEquals(admitted.getProtocol(), protocol, JSON.stringify(options));
        if (refused) await assertRejects(() => dial(port, refused), Error);
        admitted.destroy();
      }
      assert(!errors.includes("CONFIG_UNUSABLE"), String(errors));
      await close(server);
    }
  },
);

test("attach() takes over a server that listens, and keeps its connections", { skip: NOT_BUN }, async () => {
  for (const kind of ["https", "tls"] as const) {
    const state = new TlsState(configs[0]);
    const server: Server = kind === "https"
      ? createHttpsServer(state.tls, (_request, response) => response.end("answered"))
      : createTlsServer(state.tls, (socket) => socket.on("error", () => {}).on("data", () => socket.write("answered")));
    const port = await listening(server);
    const before = await dial(port);
    await ask(before, "answered");
    const attachment = attach(state, server);
    // It serves its own configuration until then.
    assertEquals(assertThrows(() => state.swap(configs[1]), TlsReloadError, "await 'ready'").code, "UNSUPPORTED");
    await attachment.ready;
    assertEquals([attachment.mechanism, attachment.isAttached], ["handoff", true]);
    for (const at of [1, 0, 1] as const) {
      state.swap(configs[at]);
      assertEquals(await served(port), issued[at].fingerprint256, kind);
      await ask(before, "answered");
    }
    assertEquals(server.address(), { address: "127.0.0.1", family: "IPv4", port });
    const isClosed = close(server);
    before.destroy();
    await isClosed;
    await assertRejects(() => dial(port), Error);
  }
});

test(
  "a server that is attached again follows its new state, before and while it listens",
  { skip: NOT_BUN },
  async () => {
    const states = [new TlsState(configs[0]), new TlsState(configs[1])] as const;
    const server = createHttpsServer();
    const { listen } = server;
    attach(states[0], server)[Symbol.dispose]();
    assertEquals([server.listen, Object.hasOwn(server, "listening")], [listen, false]);
    const attachment = attach(states[1], server);
    const port = await listening(server);
    assertEquals(await served(port), issued[1].fingerprint256);
    attachment[Symbol.dispose]();
    states[1].swap(configs[0]);
    assertEquals(await served(port), issued[1].fingerprint256);
    attach(states[0], server);
    assertEquals(await served(port), issued[0].fingerprint256);
    await close(server);
  },
);

test(
  "a server that is attached again drains its connections as its new state says, and counts them there",
  { skip: NOT_BUN },
  async () => {
    const states = [
      new TlsState(configs[0], { drain: { when: "never" } }),
      new TlsState(configs[1], { drain: { when: "always", spreadMs: 50 } }),
    ] as const;
    const server = createHttpsServer((_request, response) => response.end("answered"));
    const attachment = attach(states[0], server);
    const port = await listening(server);
    attachment[Symbol.dispose]();
    attach(states[1], server);
    // Waits for the server of the new state.
    assertEquals(await served(port), issued[1].fingerprint256);
    const idle = await dial(port);
    await ask(idle, "answered");
    states[1].swap(configs[0]);
    await closed(idle);
    await until(() => sharedBy(states[1]).drainTally.status.gently > 0);
    assertEquals(sharedBy(states[0]).drainTally.status.gently, 0);
    await close(server);
  },
);

test("swap() refuses what an https server of Bun cannot serve, and attach() too", { skip: NOT_BUN }, async () => {
  const state = new TlsState(configs[0]);
  const server = createHttpsServer();
  const attachment = attach(state, server);
  await listening(server);
  const optional = configOf(issued[0], { clientAuth: { mode: "optional", ca: oldCa.cert } });
  const unservable: [TlsConfig, string][] = [
    [optional, "optional"],
    [configOf(issued[0], { alpnProtocols: ["h2"] }), "http/1.1"],
  ];
  for (const [config, reason] of unservable) {
    assertEquals(assertThrows(() => state.swap(config), TlsReloadError, reason).code, "UNSUPPORTED");
    assertThrows(() => attach(new TlsState(config), createHttpsServer()), TlsReloadError, reason);
  }
  assertEquals(state.generation, 0);
  const asking = new TlsState(requiring(0, oldCa), { allowClient: () => true });
  assertThrows(() => attach(asking, createHttpsServer()), TlsReloadError, "allowClient");
  attachment[Symbol.dispose]();
  await close(server);
});

for (const version of ["-tls1_2", "-tls1_3"]) {
  test(
    `an attached https server asks for client certificates as the configuration says (openssl s_client ${version})`,
    { skip: NOT_BUN },
    async () => {
      const state = new TlsState(requiring(0, oldCa));
      const server = createHttpsServer((_request, response) => response.end(`generation ${state.generation}\n`));
      attach(state, server);
      const port = await listening(server);
      const [good, foreign, none] = await Promise.all([
        OpensslClient.create(client),
        OpensslClient.create(newClient),
        OpensslClient.create(),
      ]);
      const enters = async (openssl: OpensslClient, resume = false) =>
        (await openssl.run(port, { resume, args: [version] })).greeted;
      assertEquals([await enters(good), await enters(foreign), await enters(none)], [true, false, false]);
      // Beside another authority: fresh and resumed.
      state.swap(requiring(1, oldCa, newCa));
      assertEquals([await enters(good, true), await enters(good), await enters(foreign)], [true, true, true]);
      // Its authority is removed.
      state.swap(requiring(0, newCa));
      assertEquals([await enters(good, true), await enters(good), await enters(foreign)], [false, false, true]);
      state.swap(configs[1]);
      assertEquals([await enters(good), await enters(none)], [true, true]);
      state.swap(requiring(0, oldCa));
      assertEquals([await enters(good), await enters(none), await enters(none, true)], [true, false, false]);
      for (const openssl of [good, foreign, none]) await openssl[Symbol.asyncDispose]();
      await close(server);
    },
  );
}

test(
  "an attached https server refuses a client whose authority is removed during its handshake",
  { skip: NOT_BUN },
  async () => {
    const state = new TlsState(requiring(0, oldCa));
    let requests = 0;
    const server = createHttpsServer((_request, response) => response.end(`${++requests}`));
    const refused: string[] = [];
    server.on("tlsClientError", (error: NodeJS.ErrnoException) => refused.push(error.code!));
    attach(state, server);
    const port = await listening(server);
    const credentials = { cert: client.cert, key: client.key, rejectUnauthorized: false };
    for (const next of [requiring(0, oldCa, newCa), requiring(0, newCa)]) {
      // The server accepts with the first byte.
      const raw = await dialTcp(port);
      let isHeld = true;
      const held: [Buffer, () => void][] = [];
      const slow = new Duplex({
        read() {},
        write(chunk, _encoding, done) {
          if (!isHeld) return void raw.write(chunk, () => done());
          raw.write(chunk.subarray(0, 1));
          held.push([chunk.subarray(1), done]);
        },
      });
      raw.on("data", (chunk) => slow.push(chunk)).on("end", () => slow.destroy()).on("error", () => {});
      const late = connect({ socket: slow, ...credentials }).on("error", () => {});
      await until(() => held.length > 0);
      await delay(50);
      state.swap(next);
      (await dial(port, credentials)).destroy();
      const before = requests;
      isHeld = false;
      for (const [rest, done] of held) raw.write(rest, () => done());
      late.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
      const isAnswered = await Promise.race([once(late, "data").then(() => true), closed(late).then(() => false)]);
      const keepsTrust = next.clientAuth!.ca.length === 2;
      assertEquals([isAnswered, requests - before], keepsTrust ? [true, 1] : [false, 0]);
      late.destroy();
      raw.destroy();
    }
    assertEquals(refused, ["CLIENT_UNAUTHORIZED"]);
    await close(server);
  },
);

test(
  "attached servers lose no connection and serve none the old certificate, at a swap every 50 ms",
  { skip: NOT_BUN },
  async () => {
    for (const kind of ["https", "http2", "tls"] as const) {
      const state = new TlsState(configs[0]);
      const answer = (_request: unknown, response: { end(text: string): void }) => response.end("answered");
      const server: Server = kind === "https"
        ? createHttpsServer(answer)
        : kind === "http2"
        ? createSecureServer({ allowHTTP1: true }, answer)
        : createTlsServer((socket) => socket.on("error", () => {}).on("data", () => socket.write("answered")));
      attach(state, server);
      const port = await listening(server);
      const options = { ALPNProtocols: ["http/1.1"], rejectUnauthorized: false };
      const [idle, talking] = await Promise.all([dial(port, options), dial(port, options)]);
      const failures: unknown[] = [];
      let [visits, stale, exchanges, isOver] = [0, 0, 0, false];
      const end = "answered";
      const visitOften = async () => {
        while (!isOver) {
          const { generation } = state;
          try {
            const socket = await dial(port, options);
            const { fingerprint256 } = socket.getPeerCertificate();
            await ask(socket, end);
            socket.destroy();
            visits++;
            // A swap during the handshake makes both right.
            if (generation === state.generation && fingerprint256 !== issued[generation % 2]!.fingerprint256) stale++;
          } catch (error) {
            failures.push(error);
          }
        }
      };
      const talkOften = async () => {
        while (!isOver) {
          await ask(talking, end);
          exchanges++;
        }
      };
      const load = Promise.all([...Array.from({ length: 8 }, visitOften), talkOften()]);
      const begin = Date.now();
      const isEnough = () => state.generation > 20 && visits > 100 && exchanges > 100;
      for (let swap = 1; Date.now() - begin < (isEnough() ? 2_000 : 20_000); swap++) {
        await delay(50);
        state.swap(configs[swap % 2]!);
      }
      isOver = true;
      await load;
      assertEquals([failures, stale], [[], 0], kind);
      assert(isEnough(), `${kind}: ${visits} visits, ${exchanges} exchanges`);
      await ask(idle, end);
      for (const socket of [idle, talking]) socket.destroy();
      await close(server);
    }
  },
);

test(
  "an attached server that is not referenced keeps no process running, in any generation",
  { skip: NOT_BUN },
  async () => {
    const program = fileURLToPath(new URL("./unreferenced_server.ts", import.meta.url));
    const child = spawn(process.execPath, [program], { stdio: ["ignore", "pipe", "inherit"], timeout: 20_000 });
    let output = "";
    child.stdout.on("data", (chunk) => output += chunk);
    assertEquals([await once(child, "close"), output], [[0, null], "served\n"]);
  },
);
