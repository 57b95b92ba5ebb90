import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect as connectHttp2 } from "node:http2";
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import process from "node:process";
import test from "node:test";
import { TlsState } from "../../mod.ts";
import { serve } from "../../src/deno.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { HttpConnection } from "../support/http.ts";
import { closed, configOf } from "../support/peers.ts";
import { connectedFrom, listeningPorts, ON_LINUX } from "../support/ports.ts";

/** Where to listen, and a time for handshakes that no pause of the machine uses up. */
const LOOPBACK = { hostname: "127.0.0.1", port: 0 };
const isDeno = process.versions["deno"] !== undefined;
/** What needs the native servers of Deno runs on Deno. */
const ON_DENO = { skip: isDeno ? false : "needs Deno" };
/** The handoff is for Linux. */
const ON = { handoff: isDeno ? ON_LINUX : ON_DENO, front: ON_DENO };

async function newState(): Promise<TlsState> {
  return new TlsState(configOf(await issueServer("deno")));
}

for (const mechanism of ["handoff", "front"] as const) {
  test(
    `serve() answers over HTTP/1.1 and HTTP/2, with the address of the client and an https URL (${mechanism})`,
    ON[mechanism],
    async () => {
      const server = await serve(await newState(), { ...LOOPBACK, mechanism }, (request, info) => {
        return Response.json([request.method, request.url, request.clone().url, info.remoteAddr]);
      });
      assertEquals(server.mechanism, mechanism);
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
    },
  );

  test(
    `serve() serves the new certificate after a swap and keeps connections and WebSockets (${mechanism})`,
    ON[mechanism],
    async () => {
      const [first, second] = [await issueServer("first"), await issueServer("second")];
      const state = new TlsState(configOf(first));
      const server = await serve(state, { ...LOOPBACK, mechanism }, (request) => {
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
    },
  );

  test(`serve() takes the options of Deno.serve (${mechanism})`, ON[mechanism], async () => {
    const abort = new AbortController();
    const listening = Promise.withResolvers<Deno.NetAddr>();
    const server = await serve(await newState(), {
      ...LOOPBACK,
      mechanism,
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
    `serve() stops at once with an aborted signal, and ignores a signal that is aborted after shutdown() (${mechanism})`,
    ON[mechanism],
    async () => {
      const handler = () => new Response();
      await (await serve(await newState(), { ...LOOPBACK, mechanism, signal: AbortSignal.abort() }, handler)).finished;
      const abort = new AbortController();
      const server = await serve(await newState(), { ...LOOPBACK, mechanism, signal: abort.signal }, handler);
      await server.shutdown();
      abort.abort();
      await server.finished;
    },
  );

  test(`info.completed resolves when the response has been sent (${mechanism})`, ON[mechanism], async () => {
    const completed = Promise.withResolvers<void>();
    const server = await serve(await newState(), { ...LOOPBACK, mechanism }, (_request, info) => {
      info.completed.then(completed.resolve);
      return new Response("sent");
    });
    const connection = await HttpConnection.open(server.addr.port);
    assertEquals((await connection.ask("/")).text, "sent");
    await completed.promise;
    connection.close();
    await server.shutdown();
  });
}

test(
  "serve() behind a front answers direct connections to its inner port with 421",
  isDeno ? ON_LINUX : ON_DENO,
  async () => {
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
  },
);

test("serve() refuses options that the state decides", ON_DENO, async () => {
  for (const name of ["cert", "key", "path"]) {
    const start = async () => serve(await newState(), { ...LOOPBACK, [name]: "" }, () => new Response());
    await assertRejects(start, TypeError, `Unknown option '${name}' of serve`);
  }
});
