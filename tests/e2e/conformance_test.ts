import { assert, assertEquals } from "@std/assert";
import { execFile, spawnSync } from "node:child_process";
import { createSecureServer } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import type { Server } from "node:net";
import test from "node:test";
import { createServer as createTlsServer } from "node:tls";
import { promisify } from "node:util";
import { TlsState } from "../../mod.ts";
import { listenTlsOptions } from "../../src/deno.ts";
import { serverKinds } from "../soak/servers.ts";
import { issueServer } from "../support/certificates.ts";
import { configOf, portOf } from "../support/peers.ts";

const run = promisify(execFile);
const NEEDS_SSLSCAN = {
  skip: spawnSync("sslscan", ["--version"]).error ? "needs sslscan, https://github.com/rbsec/sslscan" : false,
};
const LOOPBACK = { hostname: "127.0.0.1", port: 0 };

/** The runtime's own server with the same options. */
interface Bare {
  readonly port: number;
  close(): unknown;
}

async function listening(server: Server): Promise<Bare> {
  await new Promise<void>((resolve) => server.listen(LOOPBACK.port, LOOPBACK.hostname, resolve));
  return { port: portOf(server), close: () => void server.close() };
}

/** What each kind of server is compared with. */
const BARE: Readonly<Record<string, (state: TlsState) => Bare | Promise<Bare>>> = {
  "acceptor": (state) => listening(createTlsServer(state.tls)),
  "tls": (state) => listening(createTlsServer(state.tls)),
  "https": (state) => listening(createHttpsServer(state.tls)),
  "http2": (state) => listening(createSecureServer(state.tls)),
  "deno listenTls"(state) {
    const listener = Deno.listenTls({ ...LOOPBACK, ...listenTlsOptions(state.current()) });
    const handshakes = async () => {
      for (;;) {
        const conn = await listener.accept();
        conn.handshake().catch(() => {}).finally(() => conn.close());
      }
    };
    handshakes().catch(() => {});
    return { port: listener.addr.port, close: () => listener.close() };
  },
  "deno serve"(state) {
    const options = { ...LOOPBACK, ...listenTlsOptions(state.current()), onListen() {} };
    const server = Deno.serve(options, () => new Response("answer"));
    return { port: server.addr.port, close: () => server.shutdown() };
  },
  "bun serve"(state) {
    const { Bun } = globalThis as unknown as { Bun: { serve(options: object): { port: number; stop(): unknown } } };
    const server = Bun.serve({ ...LOOPBACK, tls: state.tls, fetch: () => new Response("answer") });
    return { port: server.port, close: () => server.stop() };
  },
};

/** Protocol versions, cipher suites in their order of preference, and known weaknesses, a line each. */
async function scan(port: number): Promise<string[]> {
  const { stdout } = await run("sslscan", ["--timeout=60", "--no-groups", "--xml=-", `127.0.0.1:${port}`]);
  const lines = stdout.match(/<(protocol|renegotiation|compression|fallback|heartbleed|cipher) .*\/>/g) ?? [];
  assert(lines.some((line) => line.startsWith("<cipher ")), `sslscan finds no cipher suite: ${stdout}`);
  return lines;
}

/** What is chosen by ALPN (RFC 7301) from what a browser offers, and the name in the certificate that is served. */
async function greet(port: number): Promise<{ alpn: string | undefined; name: string | undefined }> {
  const client = run("openssl", ["s_client", "-connect", `127.0.0.1:${port}`, "-alpn", "h2,http/1.1"]);
  client.child.stdin!.end();
  const { stdout } = await client;
  return {
    alpn: /^(ALPN protocol: .*|No ALPN negotiated)/m.exec(stdout)?.[0],
    name: /^subject=CN ?= ?(.*)$/m.exec(stdout)?.[1],
  };
}

const issued = [await issueServer("first"), await issueServer("second")] as const;
const kinds = serverKinds();

for (const [kind, startBare] of Object.entries(BARE)) {
  const skip = kind in kinds ? NEEDS_SSLSCAN.skip : "needs another runtime";
  test(`${kind} offers before and after a swap what the server of the runtime offers`, { skip }, async () => {
    const state = new TlsState(configOf(issued[0]));
    const server = await kinds[kind]!(state, () => {});
    const bare = await startBare(state);
    try {
      const { alpn } = await greet(bare.port);
      const offered = await scan(bare.port);
      assertEquals(await greet(server.port), { alpn, name: "first" });
      assertEquals(await scan(server.port), offered);
      state.swap(configOf(issued[1]));
      assertEquals(await greet(server.port), { alpn, name: "second" });
      assertEquals(await scan(server.port), offered);
    } finally {
      await bare.close();
      await server.close();
    }
  });
}
