import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { execFile } from "node:child_process";
import process from "node:process";
import test from "node:test";
import { connect } from "node:tls";
import { promisify } from "node:util";
import { TlsConfig, type TlsConfigOptions, TlsReloadError, TlsState } from "../../mod.ts";
import { type DenoAcceptOptions, type DenoTlsConn, listenTls, serve } from "../../src/deno.ts";
import { namedKeysOf } from "../../src/deno/named_keys.ts";
import { DenoTlsRuntime } from "../../src/deno/native_listener.ts";
import { openHandoff } from "../../src/native/open_handoff.ts";
import type { Mechanism } from "../../src/native/native_server.ts";
import { issue, issueCa, type Issued, type IssueOptions } from "../support/certificates.ts";
import { HttpConnection } from "../support/http.ts";
import { ON_LINUX } from "../support/ports.ts";
import { until } from "../support/tcp.ts";

const LOOPBACK = { hostname: "127.0.0.1", port: 0 };
const isDeno = process.versions["deno"] !== undefined;
const ON_DENO = { skip: isDeno ? false : "needs Deno" };
const ON = { handoff: isDeno ? ON_LINUX : ON_DENO, front: ON_DENO };

function issueFor(commonName: string, names: readonly string[], options: IssueOptions = {}): Promise<Issued> {
  const all = names.map((value) => ({ type: /^\d/.test(value) ? "ip" as const : "dns" as const, value }));
  return issue(commonName, { names: all, ...options });
}

const standard = await issueFor("default", ["d.test", "127.0.0.1"]);
const exact = await issueFor("exact", ["x.w.test"]);
const wildcard = await issueFor("wildcard", ["*.w.test"], { algorithm: "RSA" });
const wildcardEc = await issueFor("wildcard EC", ["*.w.test"]);
const address = await issueFor("address", ["127.0.0.1"]);
const other = await issueFor("other", ["O.test", "y.w.test"], { algorithm: "RSA" });
const many = await issueFor("many", Array.from({ length: 101 }, (_, index) => `n${index}.test`));
const named = [standard, exact, other];

function configOf(issued: readonly Issued[], options: TlsConfigOptions<string> = {}): TlsConfig {
  return new TlsConfig({ ...options, certifiedKeys: issued.map(({ cert, key }) => ({ cert, key })) });
}

/** Which certificate a client gets; `"refused"` if its handshake fails. */
function commonName(port: number, name: string | undefined, options: object = {}): Promise<string> {
  return new Promise((resolve) => {
    const servername = name === undefined ? {} : { servername: name };
    const client = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ...servername, ...options });
    client.once("secureConnect", () => {
      resolve(client.getPeerCertificate().subject.CN as string);
      client.destroy();
    }).on("error", () => resolve("refused"));
  });
}

/** What `openssl s_client` prints of its connection. */
async function openssl(port: number, ...args: string[]): Promise<string> {
  const client = promisify(execFile)("openssl", ["s_client", "-connect", `127.0.0.1:${port}`, ...args]);
  client.child.stdin!.end();
  return (await client).stdout;
}

/** A server of names that has nothing to say. */
interface NamedServer {
  close(): Promise<unknown>;
  readonly port: number;
  readonly mechanism: Mechanism;
  readonly mechanismReason: string;
}

const SERVERS: Readonly<Record<string, (state: TlsState, options?: DenoAcceptOptions) => Promise<NamedServer>>> = {
  async "serve()"(state, options) {
    const server = await serve(state, { ...LOOPBACK, ...options }, () => new Response("hello"));
    const { mechanism, mechanismReason, addr: { port } } = server;
    return { port, mechanism, mechanismReason, close: () => server.shutdown() };
  },
  async "listenTls()"(state, options) {
    const listener = await listenTls(state, { ...LOOPBACK, ...options });
    const { mechanism, mechanismReason, addr: { port } } = listener;
    const accepting = (async () => {
      for await (const conn of listener) conn.readable.pipeTo(conn.writable).catch(() => {});
    })();
    return {
      port,
      mechanism,
      mechanismReason,
      async close() {
        listener.close();
        await accepting;
      },
    };
  },
};

for (const [name, start] of Object.entries(SERVERS)) {
  for (const mechanism of ["handoff", "front"] as const) {
    test(
      `${name} gives each name its certificate, and a swap changes all of them (${mechanism})`,
      ON[mechanism],
      async () => {
        const state = new TlsState(configOf(named));
        const server = await start(state, { mechanism });
        const { port } = server;
        for (const version of ["TLSv1.2", "TLSv1.3"]) {
          const served = (name?: string) => commonName(port, name, { minVersion: version, maxVersion: version });
          assertEquals(await served("d.test"), "default");
          assertEquals(await served("x.w.test"), "exact");
          assertEquals(await served("Y.W.TEST"), "other");
          assertEquals(await served("o.test"), "other");
          assertEquals(await served("z.y.w.test"), "default");
          assertEquals(await served("unknown.test"), "default");
          assertEquals(await served(undefined), "default");
        }
        const otherEc = await issueFor("other EC", ["y.w.test"]);
        const renewed = await issueFor("renewed", ["x.w.test"]);
        state.swap(configOf([standard, renewed, otherEc]));
        assertEquals(await commonName(port, "x.w.test"), "renewed");
        assertEquals(await commonName(port, "y.w.test"), "other EC");
        await server.close();
      },
    );

    test(`${name} refuses unknown names where the configuration says so (${mechanism})`, ON[mechanism], async () => {
      for (const issued of [named, [exact]]) {
        const server = await start(new TlsState(configOf(issued, { unknownName: "refuse" })), { mechanism });
        const { port } = server;
        assertEquals(await commonName(port, "x.w.test"), "exact");
        assertEquals(await commonName(port, "unknown.test"), "refused");
        assertEquals(await commonName(port, undefined), issued === named ? "default" : "exact");
        await server.close();
      }
    });
  }

  test(
    `${name} uses the front for what the resolver of Deno cannot choose by, and the handoff else`,
    ON_DENO,
    async () => {
      const { skip } = ON_LINUX;
      const cases: [readonly Issued[], Mechanism, string][] = [
        [[standard, wildcard, wildcardEc], "front", "front: several certified keys of one name"],
        [[exact, wildcardEc], "front", "front: wildcards beside other names"],
        [[standard, many], "front", "front: more than 100 names"],
        [[exact, address], "front", "front: choice by the local address"],
        ...(skip ? [] : [[named, "handoff", "handoff: Linux with FFI"] as [readonly Issued[], Mechanism, string]]),
      ];
      for (const [issued, mechanism, reason] of cases) {
        const server = await start(new TlsState(configOf(issued)));
        assertEquals([server.mechanism, server.mechanismReason], [mechanism, reason]);
        if (issued.includes(address)) assertEquals(await commonName(server.port, undefined), "address");
        if (issued.includes(wildcard)) {
          const rsaOnly = ["-servername", "y.w.test", "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"];
          assertStringIncludes(await openssl(server.port, ...rsaOnly), "CN = wildcard\n");
          assertEquals(await commonName(server.port, "y.w.test"), "wildcard EC");
        }
        await server.close();
      }
    },
  );

  test(`${name} refuses a swap to what its resolver cannot choose by, and nothing changes`, ON.handoff, async () => {
    const state = new TlsState(configOf(named));
    const server = await start(state, { mechanism: "handoff" });
    const { cert } = await issueCa("clients");
    const refused = [
      configOf([standard, wildcard, wildcardEc]),
      configOf([exact, address]),
      configOf([exact, wildcardEc]),
      configOf([standard, many]),
      configOf(named, { clientAuth: { ca: cert, mode: "required" } }),
    ];
    for (const config of refused) {
      const error = assertThrows(() => state.swap(config), TlsReloadError, "its native servers have no");
      assertEquals([error.code, state.generation], ["UNSUPPORTED", 0]);
    }
    assertEquals(await commonName(server.port, "x.w.test"), "exact");
    await server.close();
  });
}

test(
  "serve() offers HTTP/2 for names, and a client of OpenSSL gets the certificate of its name",
  ON.handoff,
  async () => {
    const server = await SERVERS["serve()"]!(new TlsState(configOf(named)), { mechanism: "handoff" });
    const output = await openssl(server.port, "-servername", "x.w.test", "-alpn", "h2,http/1.1");
    assertStringIncludes(output, "CN = exact");
    assertStringIncludes(output, "ALPN protocol: h2");
    assertStringIncludes(await openssl(server.port, "-servername", "y.w.test", "-tls1_2"), "CN = other");
    assertStringIncludes(await openssl(server.port, "-noservername"), "CN = default");
    // RFC 6066 section 3: a name has no trailing dot. Deno takes one that has for none.
    assertStringIncludes(await openssl(server.port, "-servername", "x.w.test."), "CN = default");
    await server.close();
  },
);

test(
  "serve() of several names answers errors of the handler, and refuses options that it does not have",
  ON.handoff,
  async () => {
    const state = new TlsState(configOf(named));
    const options = { ...LOOPBACK, mechanism: "handoff" as const };
    const onError = (error: unknown) => new Response((error as Error).message, { status: 503 });
    const fail = () => {
      throw new Error("no answer");
    };
    const server = await serve(state, { ...options, onError, automaticCompression: true }, fail);
    const connection = await HttpConnection.open(server.addr.port, { servername: "x.w.test" });
    const { status, text } = await connection.ask("/");
    assertEquals([status, text], [503, "no answer"]);
    connection.close();
    const unknown = { ...options, later: 1 } as unknown as typeof options;
    const error = await assertRejects(() => serve(state, unknown, fail), TlsReloadError, "'later'");
    assertEquals(error.code, "UNSUPPORTED");
    await server.shutdown();
  },
);

test(
  "unref() of a native server of several names is UNSUPPORTED, and so is a swap to names after it",
  ON.handoff,
  async () => {
    const one = new TlsConfig({ cert: standard.cert, key: standard.key });
    const state = new TlsState(one);
    const server = await serve(state, { ...LOOPBACK, mechanism: "handoff" }, () => new Response("hello"));
    server.unref();
    const refused = (act: () => unknown) => {
      const error = assertThrows(act, TlsReloadError, "keeps the process running");
      assertEquals(error.code, "UNSUPPORTED");
    };
    refused(() => state.swap(configOf(named)));
    assertEquals(state.generation, 0);
    server.ref();
    state.swap(configOf(named));
    refused(() => server.unref());
    assertEquals(await commonName(server.addr.port, "x.w.test"), "exact");
    await server.shutdown();
  },
);

test("a listener that was asked for many names is replaced, and its connections continue", ON.handoff, async () => {
  const state = new TlsState(configOf(named));
  const conns: DenoTlsConn[] = [];
  const runtime = new DenoTlsRuntime(
    { handshakeTimeoutMs: 10_000, maxNames: 30, drains: false },
    (conn) => conns.push(conn),
  );
  const serving = await openHandoff(state, runtime, LOOPBACK);
  const { port } = serving.address;
  const kept = connect({ host: "127.0.0.1", port, servername: "x.w.test", rejectUnauthorized: false });
  await new Promise((resolve) => kept.once("secureConnect", resolve));
  const first = serving.servers[0];
  let [names, refused] = [0, 0];
  while (serving.servers.at(-1) === first) {
    if (await commonName(port, `a${names++}.test`) !== "default") refused++;
  }
  assertEquals([names >= 20, refused, state.generation], [true, 0, 0]);
  assertEquals(await commonName(port, "y.w.test"), "other");
  assertEquals([serving.servers.includes(first!), kept.destroyed], [true, false]);
  kept.destroy();
  for (const conn of conns) conn.close();
  await until(() => !serving.servers.includes(first!));
  serving.destroy();
  await serving.finished;
});

test("namedKeysOf() refuses an unknown name by an error without a byte of a key", () => {
  const { resolve } = namedKeysOf(configOf([exact], { unknownName: "refuse" }));
  const error = assertThrows(() => resolve("unknown.test"), Error, "no certificate holds the name");
  assertEquals(String(error.stack).includes("PRIVATE KEY"), false);
  assertEquals(resolve("x.w.test").key, configKey(exact));
});

function configKey({ cert, key }: Issued): string {
  return String(new TlsState(new TlsConfig({ cert, key })).tls.key);
}
