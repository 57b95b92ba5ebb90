// Each scenario is written from Node's documentation and run twice: with a bare server, and with an attached one whose
// state is swapped every 2 ms. The application must see the same.
import { assert, assertEquals } from "@std/assert";
import { once } from "node:events";
import { connect as connectHttp2, createSecureServer } from "node:http2";
import { Agent, createServer as createHttpsServer, request } from "node:https";
import type { Socket } from "node:net";
import process from "node:process";
import test from "node:test";
import { createServer as createTlsServer, type Server, type TlsOptions, type TLSSocket } from "node:tls";
import { TlsState } from "../../mod.ts";
import { attach, type AttachOptions } from "../../src/node.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { closed, configOf, dial, dialTcp, OpensslClient, portOf } from "../support/peers.ts";
import { until } from "../support/tcp.ts";

const { bun, deno } = process.versions as { bun?: string; deno?: string };
const ON_BUN = bun !== undefined && "Bun accepts outside of JavaScript: attach_test.ts has what holds there";
const NOT_NODE = (bun !== undefined || deno !== undefined) &&
  "only Node emits these events and encrypts tickets with keys";
const issued = await issueServer("server");
const renewed = await issueServer("renewed");
const ca = await issueCa("clients");
const client = await issueClient("client", { issuer: ca });
const stranger = await issueClient("stranger");
const mutual = { clientAuth: { mode: "required", ca: ca.cert } } as const;
const KINDS = {
  tls: (options: TlsOptions): Server => createTlsServer(options),
  https: (options: TlsOptions): Server => createHttpsServer(options),
  http2: (options: TlsOptions): Server => createSecureServer({ ...options, allowHTTP1: true }),
};
type Kind = keyof typeof KINDS;

/** What a scenario works with. */
interface Run {
  readonly server: Server;
  readonly port: number;
  /** What the application has seen, in its order. */
  readonly seen: unknown[];
}

interface Setup {
  readonly kind: Kind;
  /** Options of the server, beside certificate and key. */
  readonly options?: TlsOptions;
  /** What the configuration holds. */
  readonly config?: object;
  readonly attachOptions?: AttachOptions;
  readonly skip?: string | false;
}

/** Runs a scenario with a bare and an attached server, and asserts that the application has seen the same. */
function compare(what: string, setup: Setup, scenario: (run: Run) => Promise<void>): void {
  const { kind, options = {}, config = {}, attachOptions } = setup;
  test(`an attached ${kind} server behaves like a bare one: ${what}`, { skip: setup.skip || ON_BUN }, async () => {
    const seen: Record<string, unknown[]> = {};
    for (const way of ["bare", "attached"]) {
      const state = new TlsState(configOf(issued, config));
      const next = configOf(renewed, config);
      const { cert, key, ...settings } = state.tls;
      const server = KINDS[kind](way === "bare" ? { cert, key, ...settings, ...options } : options);
      let timer: ReturnType<typeof setInterval> | undefined;
      if (way === "attached") {
        attach(state, server, attachOptions);
        timer = setInterval(() => state.swap(state.current() === next ? configOf(issued, config) : next), 2);
      }
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      const sockets = new Set<Socket>();
      server.on("connection", (socket) => sockets.add(socket));
      const run: Run = { server, port: portOf(server), seen: seen[way] = [] };
      try {
        await scenario(run);
      } finally {
        clearInterval(timer);
        for (const socket of sockets) socket.destroy();
        if (server.listening) await new Promise((resolve) => server.close(resolve));
      }
    }
    assert(seen["bare"]!.length > 0, "the scenario has seen nothing");
    assertEquals(seen["attached"], seen["bare"]);
  });
}

/** A request, and what comes of it. */
function ask(port: number, options: object = {}): Promise<{ status: number; text: string; reused: boolean }> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: "127.0.0.1", port, rejectUnauthorized: false, ...options }, async (response) => {
      let text = "";
      for await (const chunk of response) text += chunk;
      resolve({ status: response.statusCode ?? 0, text, reused: sent.reusedSocket });
    });
    sent.on("error", reject).end();
  });
}

function connectionsOf(server: Server): Promise<number> {
  return new Promise((resolve) => server.getConnections((_error, count) => resolve(count)));
}

compare("keep-alive with an agent, and close() once it is idle", { kind: "https" }, async ({ server, port, seen }) => {
  server.on("request", (_request, response) => response.end("hello"));
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  for (let count = 0; count < 5; count++) seen.push(await ask(port, { agent }));
  seen.push(await connectionsOf(server));
  const ended = once(server, "close");
  server.close();
  await ended;
  seen.push("closed", await connectionsOf(server));
  agent.destroy();
});

compare("headersTimeout answers 408", { kind: "https" }, async ({ server, port, seen }) => {
  Object.assign(server, { headersTimeout: 100, requestTimeout: 200, connectionsCheckingInterval: 50 });
  server.close();
  await once(server, "close");
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const slow = await dial(port);
  slow.write("GET / HTTP/1.1\r\nHost: localhost\r\n");
  let text = "";
  slow.setEncoding("utf8").on("data", (chunk) => text += chunk);
  await once(slow, "end");
  seen.push(text.split("\r\n")[0]);
  slow.destroy();
});

compare("setTimeout() emits timeout with the socket", { kind: "https" }, async ({ server, port, seen }) => {
  (server as unknown as { setTimeout(ms: number, listener: (socket: TLSSocket) => void): void }).setTimeout(
    50,
    (socket) => {
      seen.push("timeout", socket.encrypted);
      socket.destroy();
    },
  );
  const idle = await dial(port);
  await closed(idle);
});

compare("upgrade hands over the socket", { kind: "https" }, async ({ server, port, seen }) => {
  server.on("upgrade", (_request, socket: TLSSocket) => {
    seen.push(socket.encrypted, socket.getProtocol());
    socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n");
    socket.pipe(socket);
  });
  const upgraded = await dial(port);
  upgraded.write("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
  await once(upgraded, "data");
  upgraded.write("ping");
  seen.push(String((await once(upgraded, "data"))[0]));
  upgraded.destroy();
});

compare("closeAllConnections() and closeIdleConnections()", { kind: "https" }, async ({ server, port, seen }) => {
  const { closeAllConnections, closeIdleConnections } = server as unknown as Record<string, () => void>;
  server.on("request", (request, response) => request.url === "/hang" ? response.flushHeaders() : response.end());
  const hanging = await dial(port);
  hanging.write("GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await once(hanging, "data");
  const idle = await dial(port);
  idle.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await once(idle, "data");
  const idleEnd = closed(idle);
  closeIdleConnections!.call(server);
  await idleEnd;
  seen.push(hanging.destroyed);
  const hangingEnd = closed(hanging);
  closeAllConnections!.call(server);
  await hangingEnd;
  seen.push("all closed");
});

for (const kind of ["tls", "https", "http2"] as const) {
  compare(
    "the socket of secureConnection",
    { kind, options: { ALPNProtocols: ["http/1.1"] } },
    async ({ server, port, seen }) => {
      const arrived = once(server, "secureConnection") as Promise<
        [TLSSocket & { server?: Server; servername?: string }]
      >;
      const connected = await dial(port, { ALPNProtocols: ["http/1.1"], servername: "localhost" });
      const [secure] = await arrived;
      const { authorized, authorizationError, alpnProtocol, servername, encrypted } = secure;
      // Deno calls clients authorised that were not asked for a certificate; an attached server does not.
      seen.push(deno ? undefined : authorized, authorizationError, alpnProtocol, servername, encrypted);
      seen.push(secure.server === server, secure.remotePort === connected.localPort, await connectionsOf(server));
      connected.destroy();
      secure.destroy();
    },
  );

  compare(
    "clients with a certificate, with none, and with a strange one",
    { kind, config: mutual },
    async ({ server, port, seen }) => {
      server.on("secureConnection", (secure: TLSSocket) => {
        seen.push([secure.authorized, secure.getPeerCertificate().subject?.CN]);
        secure.on("error", () => {}).end();
      });
      server.on("tlsClientError", (error: NodeJS.ErrnoException, secure: TLSSocket) => {
        seen.push([error.name, error.code, error.message, secure.encrypted]);
      });
      for (const pair of [client, undefined, stranger]) {
        const count = seen.length;
        const visitor = await dial(port, { maxVersion: "TLSv1.2", ...(pair && { cert: pair.cert, key: pair.key }) })
          .catch(() => undefined);
        await until(() => seen.length > count);
        visitor?.destroy();
      }
    },
  );

  compare("errors of clients that do not speak TLS, or leave", { kind }, async ({ server, port, seen }) => {
    server.on("tlsClientError", (error: NodeJS.ErrnoException, secure: TLSSocket) => {
      seen.push([error.name, error.code, secure.encrypted]);
    });
    for (const bytes of ["GET / HTTP/1.1\r\n\r\n", ""]) {
      const count = seen.length;
      const socket = await dialTcp(port);
      if (bytes) socket.write(bytes);
      else socket.end();
      await until(() => seen.length > count);
      socket.destroy();
    }
  });
}

compare("clientError of https after tlsClientError", { kind: "https" }, async ({ server, port, seen }) => {
  server.on("clientError", (error: NodeJS.ErrnoException, socket: TLSSocket) => {
    seen.push(error.code);
    socket.destroy();
  });
  const socket = await dialTcp(port);
  socket.write("GET / HTTP/1.1\r\n\r\n");
  await closed(socket);
  await until(() => seen.length > 0);
});

compare("HTTP/2 and HTTP/1.1 on one port", { kind: "http2" }, async ({ server, port, seen }) => {
  server.on("request", (request, response) => response.end(request.httpVersion));
  const session = connectHttp2(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
  const stream = session.request({ ":path": "/" });
  let text = "";
  for await (const chunk of stream) text += chunk;
  seen.push(text, session.alpnProtocol, (await ask(port, { ALPNProtocols: ["http/1.1"] })).text);
  session.close();
  await once(session, "close");
});

compare(
  "listeners of connection see the raw socket, in their order",
  { kind: "tls" },
  async ({ server, port, seen }) => {
    server.prependListener("connection", (socket) => seen.push(["first", "encrypted" in socket]));
    server.on("connection", (socket) => seen.push(["last", "encrypted" in socket]));
    server.on("secureConnection", (secure) => seen.push("secure") && secure.destroy());
    await closed(await dial(port));
  },
);

compare("pauseOnConnect keeps the first bytes until the socket is resumed", {
  kind: "tls",
  options: { pauseOnConnect: true } as TlsOptions,
}, async ({ server, port, seen }) => {
  const arrived = once(server, "secureConnection") as Promise<[TLSSocket]>;
  const eager = await dial(port);
  eager.write("eager");
  const [secure] = await arrived;
  seen.push(secure.isPaused());
  const data = once(secure, "data");
  secure.resume();
  seen.push(String((await data)[0]));
  eager.destroy();
  secure.destroy();
});

compare(
  "keylog, newSession, resumeSession, OCSPRequest",
  { kind: "tls", skip: NOT_NODE },
  async ({ server, port, seen }) => {
    const events: string[] = [];
    const sessions = new Map<string, Uint8Array>();
    server.on(
      "keylog",
      (line: Uint8Array, secure: TLSSocket) => events.push(`keylog ${secure.encrypted} ${line.length > 50}`),
    );
    server.on("newSession", (id: Uint8Array, data: Uint8Array, done: () => void) => {
      events.push("newSession");
      sessions.set(String(id), data);
      done();
    });
    server.on("resumeSession", (id: Uint8Array, done: (error: null, data: Uint8Array | null) => void) => {
      events.push(`resumeSession ${sessions.has(String(id))}`);
      done(null, sessions.get(String(id)) ?? null);
    });
    server.on("OCSPRequest", (_certificate, _issuer, done: (error: null, response: null) => void) => {
      events.push("OCSPRequest");
      done(null, null);
    });
    server.on("secureConnection", (secure: TLSSocket) => secure.end("generation 0\n"));
    const openssl = await OpensslClient.create();
    const first = await openssl.run(port, { args: ["-tls1_2", "-no_ticket", "-status"] });
    const again = await openssl.run(port, { resume: true, args: ["-tls1_2", "-no_ticket", "-status"] });
    await openssl[Symbol.asyncDispose]();
    seen.push(first.reused, again.reused, [...new Set(events)].sort());
  },
);

compare(
  "a throw in a listener of secureConnection is an uncaught exception",
  { kind: "tls", skip: ON_BUN },
  async ({ server, port, seen }) => {
    const listeners = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    const caught = once(process, "uncaughtException");
    server.once("secureConnection", (secure) => {
      setImmediate(() => secure.destroy());
      throw new Error("thrown by the application");
    });
    const visitor = await dial(port).catch(() => undefined);
    seen.push(((await caught)[0] as Error).message);
    for (const listener of listeners) process.on("uncaughtException", listener);
    visitor?.destroy();
  },
);
