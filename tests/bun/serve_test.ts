import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import test from "node:test";
import { isDeepStrictEqual } from "node:util";
import { TlsConfig, TlsReloadError, TlsState } from "../../mod.ts";
import { allGenerations } from "../../src/accept/tls_state.ts";
import { type BunServer, type BunWebSocket, serve, tlsOptions } from "../../src/bun.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { HttpConnection } from "../support/http.ts";
import { closed, configOf, dialTcp, visit } from "../support/peers.ts";
import { makeLeaf } from "../support/chains.ts";
import { rsaKey } from "../support/made_certificates.ts";
import { connectedFrom, listeningPorts, ON_LINUX } from "../support/ports.ts";
import { until } from "../support/tcp.ts";

/** Where to listen, and the longest time that Bun lets connections be idle: no pause of the machine uses it up. */
const LOOPBACK = { hostname: "127.0.0.1", port: 0, idleTimeout: 255 };
const isBun = process.versions["bun"] !== undefined;
/** What needs the native server of Bun runs on Bun. */
const ON_BUN = { skip: isBun ? false : "needs Bun" };
/** The handoff is for Linux. */
const ON = { handoff: isBun ? ON_LINUX : ON_BUN, front: ON_BUN };

declare const Bun: {
  serve(options: object): { readonly port: number; reload(options: object): void; stop(force: boolean): Promise<void> };
};

async function newState(): Promise<TlsState> {
  return new TlsState(configOf(await issueServer("bun")));
}

async function mutualState(): Promise<{ state: TlsState; trusted: { cert: string; key: string } }> {
  const ca = await issueCa("clients");
  const config = configOf(await issueServer("mutual"), { clientAuth: { ca: ca.cert, mode: "required" } });
  const { cert, key } = await issueClient("trusted", { issuer: ca });
  return { state: new TlsState(config), trusted: { cert, key } };
}

test(
  "serve() of ./bun throws on another runtime an error that names what it needs",
  { skip: isBun && "runs on Bun" },
  async () => {
    const state = await newState();
    const error = await assertRejects(() => serve(state, { fetch: () => new Response() }), TlsReloadError, "needs Bun");
    assertEquals(error.code, "UNSUPPORTED");
  },
);

test("tlsOptions() returns options for Bun.serve with a hidden key", async () => {
  const ca = await issueCa("clients");
  const options = tlsOptions(
    configOf(await issueServer("options"), { minVersion: "TLSv1.3", clientAuth: { ca: ca.cert, mode: "required" } }),
  );
  assert(!Array.isArray(options));
  assertEquals([options.minVersion, options.requestCert, options.rejectUnauthorized], [0x0304, true, true]);
  assert(!JSON.stringify(options).includes("BEGIN PRIVATE KEY"));
});

test("tlsOptions() refuses optional client authentication, which Bun.serve does not check", async () => {
  const ca = (await issueCa("clients")).cert;
  const config = configOf(await issueServer("options"), { clientAuth: { ca, mode: "optional" } });
  assertEquals(assertThrows(() => tlsOptions(config), TlsReloadError).code, "UNSUPPORTED");
});

test("Bun.serve() reads state.tls once, and enforces minVersion of tlsOptions()", ON_BUN, async () => {
  const [first, second] = [await issueServer("first"), await issueServer("second")];
  const state = new TlsState(configOf(first));
  const handlers = { fetch: () => new Response() };
  const server = Bun.serve({ ...LOOPBACK, ...handlers, tls: state.tls });
  state.swap(configOf(second, { minVersion: "TLSv1.3" }));
  // Should this ever serve the second certificate, then serve() no longer needs a front.
  server.reload({ ...handlers, tls: tlsOptions(state.current()) });
  assertEquals((await visit(server.port)).fingerprint256, first.fingerprint256);
  await server.stop(true);
  const strict = Bun.serve({ ...LOOPBACK, ...handlers, tls: tlsOptions(state.current()) });
  assertEquals((await visit(strict.port, { maxVersion: "TLSv1.2" })).fingerprint256, undefined);
  assertEquals((await visit(strict.port)).fingerprint256, second.fingerprint256);
  await strict.stop(true);
});

for (const mechanism of ["handoff", "front"] as const) {
  test(
    `serve() answers by fetch, routes and error, and knows the address of the client (${mechanism})`,
    ON[mechanism],
    async () => {
      const seen: unknown[] = [];
      const server = await serve(await newState(), {
        ...LOOPBACK,
        mechanism,
        routes: {
          "/static": new Response("static"),
          "/method": { GET: () => new Response("method") },
          "/item/:id": ({ params }) => new Response(params["id"]),
          "/thrown": () => {
            throw new Error("thrown");
          },
        },
        fetch(request, given) {
          seen.push(this === given, given === server, request.url);
          given.timeout(request, 60);
          return Response.json(given.requestIP(request));
        },
        error: ({ message }) => new Response(message, { status: 500 }),
      });
      assertEquals(server.mechanism, mechanism);
      assertMatch(server.mechanismReason, new RegExp(`^${mechanism}: `));
      assertEquals(server.url.href, `https://127.0.0.1:${server.port}/`);
      const connection = await HttpConnection.open(server.port);
      for (const path of ["static", "method"]) assertEquals((await connection.ask(`/${path}`)).text, path);
      assertEquals((await connection.ask("/item/7")).text, "7");
      assertEquals((await connection.ask("/thrown")).text, "thrown");
      const { localPort: port } = connection.socket;
      assertEquals(JSON.parse((await connection.ask("/who")).text), { address: "127.0.0.1", port, family: "IPv4" });
      assertEquals(seen, [true, true, `https://localhost:${server.port}/who`]);
      connection.close();
      await server.stop(true);
    },
  );

  test(
    `serve() serves the new certificate after a swap and keeps connections (${mechanism})`,
    ON[mechanism],
    async () => {
      const [first, second] = [await issueServer("first"), await issueServer("second")];
      const state = new TlsState(configOf(first));
      const server = await serve(state, { ...LOOPBACK, mechanism, fetch: () => new Response("answer") });
      const kept = await HttpConnection.open(server.port);
      const idle = await HttpConnection.open(server.port);
      assertEquals((await kept.ask("/")).text, "answer");
      state.swap(configOf(second));
      const fresh = await HttpConnection.open(server.port);
      assertEquals(kept.fingerprint256, first.fingerprint256);
      assertEquals(fresh.fingerprint256, second.fingerprint256);
      for (const connection of [kept, idle, fresh]) assertEquals((await connection.ask("/")).text, "answer");
      const expected = [{ generation: 0, connections: 2 }, { generation: 1, connections: 1 }];
      await until(() => isDeepStrictEqual(server.generations, expected));
      assertEquals(allGenerations(state), expected);
      for (const connection of [kept, idle, fresh]) connection.close();
      await server.stop(true);
    },
  );

  test(
    `serve() makes swap() throw for a configuration that Bun.serve cannot serve, and keeps the current one (${mechanism})`,
    ON[mechanism],
    async () => {
      const issued = await issueServer("good");
      const state = new TlsState(configOf(issued));
      const server = await serve(state, { ...LOOPBACK, mechanism, fetch: () => new Response() });
      const ca = (await issueCa("clients")).cert;
      const next = configOf(await issueServer("bad"), { clientAuth: { ca, mode: "optional" } });
      const error = assertThrows(() => state.swap(next), TlsReloadError);
      assertEquals([error.code, state.generation], ["UNSUPPORTED", 0]);
      assertEquals((await visit(server.port)).fingerprint256, issued.fingerprint256);
      await server.stop(true);
    },
  );

  test(`serve() refuses client authentication of a state with allowClient (${mechanism})`, ON[mechanism], async () => {
    const clientAuth = { ca: (await issueCa("clients")).cert, mode: "required" } as const;
    const mutual = configOf(await issueServer("mutual"), { clientAuth });
    const open = configOf(await issueServer("open"));
    const options = { ...LOOPBACK, mechanism, fetch: () => new Response() };
    const refused = await assertRejects(
      () => serve(new TlsState(mutual, { allowClient: () => false }), options),
      TlsReloadError,
    );
    assertEquals(refused.code, "UNSUPPORTED");
    const state = new TlsState(open, { allowClient: () => false });
    const server = await serve(state, options);
    assertEquals(assertThrows(() => state.swap(mutual), TlsReloadError).code, "UNSUPPORTED");
    await server.stop(true);
  });

  test(
    `serve() publishes to the WebSockets of every generation, each of which has the address of its client (${mechanism})`,
    ON[mechanism],
    async () => {
      const state = await newState();
      const server: BunServer = await serve(state, {
        ...LOOPBACK,
        mechanism,
        fetch: (request, server) =>
          server.upgrade(request, { data: "data" }) ? undefined : new Response("", { status: 400 }),
        websocket: {
          open(socket: BunWebSocket) {
            socket.subscribe("room");
            socket.send(`${socket.remoteAddress} ${socket.data}`);
          },
          message(socket, message) {
            socket.publish("room", message);
          },
        },
      });
      const chats: HttpConnection[] = [];
      for (let generation = 0; generation < 3; generation++) {
        const chat = await HttpConnection.open(server.port);
        await chat.upgrade("/");
        assertEquals(await chat.receiveText(), "127.0.0.1 data");
        chats.push(chat);
        state.swap(configOf(await issueServer("next")));
      }
      assertEquals([server.pendingWebSockets, server.subscriberCount("room")], [3, 3]);
      chats[0]!.sendText("from the oldest");
      for (const chat of chats.slice(1)) assertEquals(await chat.receiveText(), "from the oldest");
      server.publish("room", "from the server");
      for (const chat of chats) assertEquals(await chat.receiveText(), "from the server");
      for (const chat of chats) chat.close();
      await server.stop(true);
    },
  );

  test(`serve() reloads the handlers of every generation, and refuses tls (${mechanism})`, ON[mechanism], async () => {
    const state = await newState();
    const server = await serve(state, { ...LOOPBACK, mechanism, fetch: () => new Response("first") });
    const kept = await HttpConnection.open(server.port);
    assertEquals((await kept.ask("/")).text, "first");
    state.swap(configOf(await issueServer("next")));
    const fresh = await HttpConnection.open(server.port);
    server.reload({ fetch: () => new Response("second") });
    for (const connection of [kept, fresh]) assertEquals((await connection.ask("/")).text, "second");
    const withTls = { fetch: () => new Response(), tls: state.tls };
    assertEquals(assertThrows(() => server.reload(withTls), TlsReloadError).code, "UNSUPPORTED");
    for (const connection of [kept, fresh]) connection.close();
    await server.stop(true);
  });

  test(
    `serve() asks for client certificates, and for those of the new authorities after a swap (${mechanism})`,
    ON[mechanism],
    async () => {
      const { state, trusted } = await mutualState();
      const server = await serve(state, { ...LOOPBACK, mechanism, fetch: () => new Response("in") });
      const isIn = async (credentials: object) => (await visit(server.port, credentials)).greeting !== undefined;
      const foreign = await issueClient("foreign", { issuer: await issueCa("foreign") });
      assertEquals(await isIn(trusted), true);
      assertEquals(await isIn({ cert: foreign.cert, key: foreign.key }), false);
      assertEquals(await isIn({}), false);
      state.swap((await mutualState()).state.current());
      assertEquals(await isIn(trusted), false);
      await server.stop(true);
    },
  );

  test(
    `fetch() of the server calls the handlers without a connection, also after swaps (${mechanism})`,
    ON[mechanism],
    async () => {
      const state = await newState();
      const server = await serve(state, {
        ...LOOPBACK,
        mechanism,
        routes: { "/route": () => new Response("route") },
        fetch: (request, server) => Response.json(server.requestIP(request)),
      });
      const answers = async () => [
        await (await server.fetch(`${server.url}any`)).text(),
        await (await server.fetch(new Request(`${server.url}route`))).text(),
      ];
      const before = await answers();
      state.swap(configOf(await issueServer("next")));
      assertEquals(await answers(), before);
      await visit(server.port);
      assertEquals(await answers(), before);
      const ca = (await issueCa("clients")).cert;
      const next = configOf(await issueServer("optional"), { clientAuth: { ca, mode: "optional" } });
      assertThrows(() => state.swap(next), TlsReloadError);
      assertEquals(await answers(), before);
      await server.stop(true);
    },
  );

  test(
    `serve() closes the connection of a client that does not read, after the idle timeout (${mechanism})`,
    ON[mechanism],
    async () => {
      const server = await serve(await newState(), {
        ...LOOPBACK,
        mechanism,
        idleTimeout: 1,
        fetch: () => new Response(new Uint8Array(64 << 20)),
      });
      const args = ["s_client", "-quiet", "-connect", `127.0.0.1:${server.port}`];
      const client = spawn("openssl", args, { stdio: ["pipe", "pipe", "ignore"] });
      client.stdin.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
      await once(client.stdout, "readable");
      client.kill("SIGSTOP");
      await until(() => server.generations[0]!.connections === 1);
      await until(() => server.generations[0]!.connections === 0);
      client.kill("SIGKILL");
      await once(client, "close");
      await server.stop(true);
    },
  );

  test(
    `stop() closes idle connections at once, and the others when they have been answered (${mechanism})`,
    ON[mechanism],
    async () => {
      const answer = Promise.withResolvers<Response>();
      const asked = Promise.withResolvers<void>();
      const server = await serve(await newState(), {
        ...LOOPBACK,
        mechanism,
        fetch: () => {
          asked.resolve();
          return answer.promise;
        },
      });
      const busy = await HttpConnection.open(server.port);
      busy.send("/");
      await asked.promise;
      assertEquals(server.pendingRequests, 1);
      const silent = await dialTcp(server.port);
      await until(() => server.generations[0]!.connections === 2);
      const stopped = server.stop();
      await closed(silent);
      answer.resolve(new Response("finished"));
      assertEquals((await busy.answer()).text, "finished");
      await stopped;
      assertEquals((await visit(server.port)).fingerprint256, undefined);
      busy.close();
    },
  );

  test(
    `serve() rejects with the error of the system when the port is taken (${mechanism})`,
    ON[mechanism],
    async () => {
      const state = await newState();
      const fetch = () => new Response();
      const server = await serve(state, { ...LOOPBACK, mechanism, fetch });
      const { port } = server;
      const error = await serve(state, { hostname: "127.0.0.1", port, fetch, mechanism }).then(
        () => undefined,
        (error) => error,
      );
      assertEquals((error as NodeJS.ErrnoException).code, "EADDRINUSE");
      await server.stop(true);
    },
  );

  test(
    `serve() has the surface of Bun.serve: port of the environment, address, shared ports, reload, disposal (${mechanism})`,
    ON[mechanism],
    async () => {
      const handlers = { hostname: "127.0.0.1", fetch: () => new Response("own") };
      const native = Bun.serve({ ...LOOPBACK, ...handlers });
      const first = await serve(await newState(), { ...LOOPBACK, mechanism, ...handlers, reusePort: true });
      // Those of the runtime that concern connections come with the connection, `id` with the inner server.
      for (const name of [...Object.keys(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(native)))]) {
        if (name !== "id" && name !== "constructor") assert(name in first, name);
      }
      const { PORT } = process.env;
      process.env["PORT"] = String(first.port);
      const second = await serve(await newState(), { ...handlers, mechanism, reusePort: true });
      if (PORT === undefined) delete process.env["PORT"];
      else process.env["PORT"] = PORT;
      assertEquals(second.address, { address: "127.0.0.1", port: first.port, family: "IPv4" });
      assertEquals(first.reload(handlers), first);
      second.closeIdleConnections();
      second[Symbol.dispose]();
      await first.stop(true);
      assertEquals(first.publish("topic", "message"), 0);
      await native.stop(true);
    },
  );

  test(`unref() lets the process end, also after a swap (${mechanism})`, ON[mechanism], async () => {
    const { cert, key } = await issueServer("unref");
    const program = `
    const { TlsConfig, TlsState } = await import("${new URL("../../mod.ts", import.meta.url)}");
    const { serve } = await import("${new URL("../../src/bun.ts", import.meta.url)}");
    const config = () => new TlsConfig(${JSON.stringify({ cert, key })});
    const state = new TlsState(config());
    const server = await serve(state, { hostname: "127.0.0.1", port: 0, mechanism: "${mechanism}", fetch: () => new Response() });
    server.unref();
    state.swap(config());
    while (server.generations.at(-1).generation < 1) await Bun.sleep(1);
    console.log("swapped");`;
    const child = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "inherit"] });
    const [[chunk], [code]] = await Promise.all([once(child.stdout, "data"), once(child, "close")]);
    assertEquals([String(chunk), code], ["swapped\n", 0]);
  });

  test(`serve() receives and sends a long body (${mechanism})`, ON[mechanism], async () => {
    const server = await serve(await newState(), {
      ...LOOPBACK,
      mechanism,
      fetch: async (request) => new Response(await request.arrayBuffer()),
    });
    const sent = Buffer.alloc(4 << 20, "0123456789abcdef+");
    const connection = await HttpConnection.open(server.port);
    connection.socket.write(`POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${sent.length}\r\n\r\n`);
    connection.socket.write(sent);
    assert(sent.equals((await connection.answer()).body));
    connection.close();
    await server.stop(true);
  });
}

test(
  "serve() behind a front refuses direct connections to the inner port of a replaced generation",
  isBun ? ON_LINUX : ON_BUN,
  async () => {
    const { state, trusted } = await mutualState();
    const before = await listeningPorts();
    const server = await serve(state, {
      ...LOOPBACK,
      mechanism: "front",
      routes: { "/static": new Response("static") },
      fetch: (request, server) => Response.json(server.requestIP(request)?.port),
    });
    const inner = (await listeningPorts()).filter((port) => !before.includes(port) && port !== server.port);
    assertEquals(inner.length, 1);
    const kept = await HttpConnection.open(server.port, trusted);
    const stranger = await HttpConnection.open(inner[0]!, trusted);
    assertEquals((await stranger.ask("/")).text, String(stranger.socket.localPort));
    // The same authority, so that clients may go on.
    const ca = state.current().clientAuth!.ca.map(({ pem }) => pem).join("");
    state.swap(configOf(await issueServer("next"), { clientAuth: { ca, mode: "required" } }));
    for (const path of ["/", "/static"]) {
      assertEquals((await stranger.ask(path)).status, 421);
      assertEquals((await kept.ask(path)).status, 200);
    }
    // All of 127.0.0.0/8 is this machine, so a stranger may even have the port of a client that may go on.
    const keptPort = (await connectedFrom(inner[0]!)).find((port) => port !== stranger.socket.localPort)!;
    const twin = await HttpConnection.open(inner[0]!, { ...trusted, localAddress: "127.0.0.2", localPort: keptPort });
    assertEquals((await twin.ask("/")).status, 421);
    assertEquals((await kept.ask("/")).text, String(kept.socket.localPort));
    for (const connection of [kept, stranger, twin]) connection.close();
    await server.stop(true);
  },
);

test(
  "serve() of ./bun serves a certificate whose keyUsage lacks digitalSignature, by which Bun's own client is refused",
  ON_BUN,
  async () => {
    const leaf = makeLeaf(undefined, { keyUsage: 0x20, key: rsaKey() });
    const key = leaf.key.privateKey.export({ type: "pkcs8", format: "pem" }) as string;
    const state = new TlsState(new TlsConfig({ cert: leaf.pem, key }));
    const server = await serve(state, { ...LOOPBACK, fetch: () => new Response("hello") });
    const client = spawn("openssl", ["s_client", "-connect", `127.0.0.1:${server.port}`, "-brief"], { stdio: "pipe" });
    client.stdin.end();
    let output = "";
    client.stderr.on("data", (chunk) => output += chunk);
    await once(client, "close");
    assertMatch(output, /Peer certificate: CN ?= ?www\.example\.com/);
    await server.stop(true);
  },
);
