import { assertEquals } from "@std/assert";
import { once } from "node:events";
import { createServer as createTcpServer } from "node:net";
import process from "node:process";
import test from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { connect, createServer as createTlsServer, type TLSSocket } from "node:tls";
import { TlsConfig, TlsState } from "../../mod.ts";
import * as bun from "../../src/bun.ts";
import * as deno from "../../src/deno.ts";
import { attach } from "../../src/node.ts";
import { issue, type Issued } from "../support/certificates.ts";
import { portOf } from "../support/peers.ts";
import { ON_LINUX } from "../support/ports.ts";

const { deno: denoVersion, bun: bunVersion } = process.versions;
const ON_DENO = denoVersion ? false : "needs Deno";
const ON_BUN = bunVersion ? false : "needs Bun";
const NOT_ON_BUN = bunVersion ? "servers of Bun accept outside of JavaScript, so attach() is for one name" : false;
const LOOPBACK = { hostname: "127.0.0.1", port: 0 };
const NAMES = 50;
const CLIENTS = 16;
const SWAP_EVERY_MS = 50;
/** The shortest time of a run. A longer run: TLS_RELOAD_SECONDS=10. */
const SECONDS = Number(process.env["TLS_RELOAD_SECONDS"] ?? 1);
/** A run goes on until it has seen this much, however busy the machine is. */
const AT_LEAST = { swaps: 20, connections: 2 * NAMES };

/** A server that answers the first bytes of each connection. */
interface Subject {
  readonly port: number;
  close(): unknown;
}

const nameOf = (index: number) => `n${index}.test`;
/** Two certificates of each name. */
const issued = await Promise.all([0, 1].map((set) => {
  const each = Array.from({ length: NAMES }, (_, index) => nameOf(index));
  return Promise.all(each.map((name) => issue(`${set} ${name}`, { names: [{ type: "dns", value: name }] })));
})) as [Issued[], Issued[]];
const [first, second] = issued.map((certificates) => {
  return new TlsConfig({ certifiedKeys: certificates.map(({ cert, key }) => ({ cert, key })), unknownName: "default" });
}) as [TlsConfig, TlsConfig];

function answer(secure: TLSSocket): void {
  secure.on("error", () => {}).once("data", () => secure.end("HTTP/1.1 200 OK\r\n\r\n"));
}

const SUBJECTS: Readonly<Record<string, { skip: string | false; start(state: TlsState): Promise<Subject> }>> = {
  "TlsState.acceptor()": {
    skip: false,
    async start(state) {
      const server = createTcpServer((socket) => state.acceptor().accept(socket).then(answer, () => {}));
      await once(server.listen(LOOPBACK.port, LOOPBACK.hostname), "listening");
      return { port: portOf(server), close: () => server.close() };
    },
  },
  "attach()": {
    skip: NOT_ON_BUN,
    async start(state) {
      const server = createTlsServer(answer);
      attach(state, server);
      await once(server.listen(LOOPBACK.port, LOOPBACK.hostname), "listening");
      return { port: portOf(server), close: () => server.close() };
    },
  },
  "serve() of ./bun": {
    skip: ON_BUN,
    async start(state) {
      const server = await bun.serve(state, { ...LOOPBACK, fetch: () => new Response("hello") });
      return { port: server.port!, close: () => server.stop(true) };
    },
  },
  ...Object.fromEntries((["handoff", "front"] as const).flatMap((mechanism) => {
    const skip = ON_DENO || (mechanism === "handoff" && ON_LINUX.skip);
    return [
      [`serve() of ./deno (${mechanism})`, {
        skip,
        async start(state: TlsState) {
          const server = await deno.serve(state, { ...LOOPBACK, mechanism }, () => new Response("hello"));
          return { port: server.addr.port, close: () => server.shutdown() };
        },
      }],
      [`listenTls() of ./deno (${mechanism})`, {
        skip,
        async start(state: TlsState) {
          const listener = await deno.listenTls(state, { ...LOOPBACK, mechanism });
          const serve = async (conn: deno.DenoTlsConn) => {
            if (await conn.read(new Uint8Array(1024)) !== null) await conn.write(new TextEncoder().encode("hello"));
            conn.close();
          };
          void (async () => {
            for await (const conn of listener) serve(conn).catch(() => {});
          })();
          return { port: listener.addr.port, close: () => listener.close() };
        },
      }],
    ];
  })),
};

/** What one client was served: the certificate, after an answer over the same connection. */
function visit(port: number, servername: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const client = connect({ host: "127.0.0.1", port, servername, rejectUnauthorized: false });
    client.once("secureConnect", () => client.write(`GET / HTTP/1.1\r\nhost: ${servername}\r\n\r\n`));
    client.once("data", () => {
      resolve(client.getPeerCertificate().fingerprint256);
      client.destroy();
    });
    client.on("error", reject).once("close", () => reject(new Error("closed before the answer")));
  });
}

for (const [name, { skip, start }] of Object.entries(SUBJECTS)) {
  test(`${name} swaps ${NAMES} names under load: none fails, is stale or gets another name`, { skip }, async () => {
    const state = new TlsState(first);
    const { port, close } = await start(state);
    const failures: string[] = [];
    let [swaps, connections, stale, wrong] = [0, 0, 0, 0];
    const end = Date.now() + SECONDS * 1000;
    const isEnough = () => swaps >= AT_LEAST.swaps && connections >= AT_LEAST.connections;
    const isOver = () => failures.length > 0 || (Date.now() >= end && isEnough());

    async function visitOften(): Promise<void> {
      while (!isOver()) {
        const [index, begin] = [Math.floor(Math.random() * NAMES), swaps];
        try {
          const served = await visit(port, nameOf(index));
          const set = issued.findIndex((certificates) => certificates[index]!.fingerprint256 === served);
          if (set < 0) wrong++;
          // While a swap comes between, either is right.
          else if (begin === swaps && set !== begin % 2) stale++;
          connections++;
        } catch (error) {
          failures.push((error as Error).message);
        }
      }
    }

    async function swapOften(): Promise<void> {
      while (!isOver()) {
        await delay(SWAP_EVERY_MS);
        state.swap(swaps % 2 === 0 ? second : first);
        swaps++;
      }
    }

    await Promise.all([swapOften(), ...Array.from({ length: CLIENTS }, visitOften)]);
    await close();
    assertEquals([failures, stale, wrong], [[], 0, 0]);
    if (process.env["TLS_RELOAD_SECONDS"]) console.log(name, { swaps, connections, stale, wrong });
  });
}
