// Native servers behind a front, against the bare ones, node:https, nginx and HAProxy, all in the same rounds:
//   deno run -A bench/native_servers.ts [rounds [seconds]]       needs wrk; nginx and haproxy take part if installed
// Prints the median of each, and in brackets the median of its ratios to the first of its group in the same round.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { TlsConfig, TlsState } from "../mod.ts";
import * as bun from "../src/runtime/bun.ts";
import * as deno from "../src/runtime/deno.ts";

const SELF = fileURLToPath(import.meta.url);
const LOOPBACK = { hostname: "127.0.0.1", port: 0 };
const BODIES = new Map([200, 1024, 20_480].map((size) => [`/${size}`, "x".repeat(size)]));
const LOADS = [["/200"], ["/1024"], ["/20480"], ["/200", "-H", "Connection: close"]] as const;
const HEADINGS = ["200 B", "1 KiB", "20 KiB", "fresh connections"];

declare const Bun: { serve(options: object): { readonly port: number } };

/** What both listeners yield. */
type Conn = Pick<deno.DenoTlsConn, "read" | "write" | "close">;

const answer = ({ url }: Request) => new Response(BODIES.get(url.slice(url.lastIndexOf("/"))) ?? "");

/** Starts what is measured and returns its port. */
const SERVERS: Record<string, (tls: { cert: string; key: string }) => number | Promise<number>> = {
  "Bun.serve": (tls) => Bun.serve({ ...LOOPBACK, tls, fetch: answer }).port,
  "Bun.serve without TLS": () => Bun.serve({ ...LOOPBACK, fetch: answer }).port,
  "./bun serve()": async (tls) => (await bun.serve(newState(tls), { ...LOOPBACK, fetch: answer })).port,
  "Deno.serve": (tls) => Deno.serve({ ...LOOPBACK, ...tls, onListen() {} }, answer).addr.port,
  "Deno.serve without TLS": () => Deno.serve({ ...LOOPBACK, onListen() {} }, answer).addr.port,
  "./deno serve()": async (tls) => (await deno.serve(newState(tls), LOOPBACK, answer)).addr.port,
  "Deno.listenTls": (tls) => {
    const listener = Deno.listenTls({ ...LOOPBACK, ...tls });
    acceptAll(listener);
    return listener.addr.port;
  },
  "./deno listenTls()": async (tls) => {
    const listener = await deno.listenTls(newState(tls), LOOPBACK);
    acceptAll(listener);
    return listener.addr.port;
  },
  "node:https": async (tls) => {
    const server = https.createServer(tls, ({ url }, response) => response.end(BODIES.get(url ?? "")));
    await once(server.listen(0, "127.0.0.1"), "listening");
    return (server.address() as { port: number }).port;
  },
};

/** The first of each group is what the others are compared with. */
const GROUPS = [
  ["bun", "Bun.serve", "./bun serve()", "node:https", "nginx: Bun.serve without TLS", "haproxy: Bun.serve without TLS"],
  [
    "deno",
    "Deno.serve",
    "./deno serve()",
    "node:https",
    "nginx: Deno.serve without TLS",
    "haproxy: Deno.serve without TLS",
  ],
  ["deno", "Deno.listenTls", "./deno listenTls()"],
] as const;

function newState(tls: { cert: string; key: string }): TlsState {
  return new TlsState(new TlsConfig(tls));
}

async function acceptAll(listener: AsyncIterable<Conn>): Promise<void> {
  for await (const conn of listener) respondAll(conn).catch(() => conn.close());
}

async function respondAll(conn: Conn): Promise<void> {
  const buffer = new Uint8Array(65_536);
  const encoder = new TextEncoder();
  for (let length; (length = await conn.read(buffer)) !== null;) {
    const request = new TextDecoder().decode(buffer.subarray(0, length));
    const body = BODIES.get(request.split(" ", 2)[1]!) ?? "";
    const isLast = /connection: close/i.test(request);
    const response = encoder.encode(
      `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${isLast ? "Connection: close\r\n" : ""}\r\n${body}`,
    );
    for (let sent = 0; sent < response.length;) sent += await conn.write(response.subarray(sent));
    if (isLast) break;
  }
  conn.close();
}

interface Running {
  readonly port: number;
  stop(): void;
}

async function startOurs(runtime: string, runArgs: readonly string[], name: string, folder: string): Promise<Running> {
  const child = spawn(runtime, [...runArgs, SELF, "serve", name, folder], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await once(createInterface(child.stdout), "line");
  return { port: Number(line), stop: () => child.kill() };
}

/** Ends TLS in front of a server without TLS; keeps connections to it open, as we do. */
async function startProxy(kind: string, inner: Running, folder: string, port: number): Promise<Running> {
  const pem = join(folder, "both.pem");
  const file = join(folder, `${kind}-${port}.conf`);
  const config = kind === "nginx"
    ? `daemon off; worker_processes 1; pid ${folder}/nginx-${port}.pid; error_log /dev/null;
events { worker_connections 1024; }
http { access_log off; keepalive_requests 1000000; upstream inner { server 127.0.0.1:${inner.port}; keepalive 64; keepalive_requests 1000000; }
server { listen 127.0.0.1:${port} ssl; ssl_certificate ${pem}; ssl_certificate_key ${pem};
location / { proxy_pass http://inner; proxy_http_version 1.1; proxy_set_header Connection ""; } } }\n`
    : `global
  nbthread 1
defaults
  mode http
  timeout client 30s
  timeout server 30s
  timeout connect 5s
  http-reuse always
listen public
  bind 127.0.0.1:${port} ssl crt ${pem}
  server inner 127.0.0.1:${inner.port}\n`;
  await writeFile(file, config);
  const args = kind === "nginx" ? ["-c", file, "-e", "/dev/null"] : ["-f", file];
  const child = spawn(kind, args, { stdio: "ignore" });
  await new Promise((resolve) => setTimeout(resolve, 500));
  return {
    port,
    stop: () => {
      child.kill();
      inner.stop();
    },
  };
}

function isInstalled(program: string): boolean {
  return spawnSync(program, ["-v"]).error === undefined;
}

function load(port: number, [path, ...args]: readonly string[], seconds: number): { perSecond: number; p99: string } {
  const options = ["-t1", "-c16", `-d${seconds}s`, "--latency", ...args];
  const { stdout } = spawnSync("wrk", [...options, `https://127.0.0.1:${port}${path}`], { encoding: "utf8" });
  const find = (pattern: RegExp) => pattern.exec(stdout)?.[1] ?? "-";
  return { perSecond: Number(find(/Requests\/sec:\s+([\d.]+)/)), p99: find(/99%\s+(\S+)/) };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN;
}

async function measure(rounds: number, seconds: number): Promise<void> {
  // Only here, as the servers need neither.
  const { issueServer } = await import("../tests/support/certificates.ts");
  const runtimes = await import("../tests/support/runtimes.ts");
  const installed = await runtimes.installRuntimes();
  const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
  const { cert, key } = await issueServer("bench");
  await Promise.all(
    [["cert.pem", cert], ["key.pem", key], ["both.pem", cert + key]].map(([name, text]) =>
      writeFile(join(folder, name!), text!, { mode: 0o600 })
    ),
  );
  let proxyPort = 20_443 + process.pid % 10_000;
  for (const [runtimeName, ...names] of GROUPS) {
    const { path, runArgs, name: version } = runtimeName === "bun" ? installed.bun : runtimes.deno;
    const running = new Map<string, Running>();
    for (const name of names) {
      const [kind, inner] = name.split(": ");
      if (!inner) running.set(name, await startOurs(path, runArgs, name, folder));
      else if (isInstalled(kind!)) {
        const server = await startOurs(path, runArgs, inner, folder);
        running.set(name, await startProxy(kind!, server, folder, proxyPort++));
      }
    }
    const results = new Map<string, { perSecond: number; p99: string }[][]>();
    for (const name of running.keys()) results.set(name, LOADS.map(() => []));
    for (let round = 0; round < rounds; round++) {
      for (const [index, each] of LOADS.entries()) {
        for (const [name, { port }] of running) results.get(name)![index]!.push(load(port, each, seconds));
      }
    }
    for (const { stop } of running.values()) stop();
    console.log(`\n${version}: per second (ratio) p99 | ${HEADINGS.join(" | ")}`);
    const base = results.get(names[0])!;
    for (const [name, loads] of results) {
      const cells = loads.map((runs, index) => {
        const ratio = median(runs.map(({ perSecond }, round) => perSecond / base[index]![round]!.perSecond));
        return `${median(runs.map(({ perSecond }) => perSecond)).toFixed(0)} (${ratio.toFixed(2)}) ${runs.at(-1)!.p99}`;
      });
      console.log(`${name.padEnd(34)} | ${cells.join(" | ")}`);
    }
  }
  await rm(folder, { recursive: true });
}

const [command, name = "", folder = ""] = process.argv.slice(2);
if (command === "serve") {
  const { readFile } = await import("node:fs/promises");
  const read = (file: string) => readFile(join(folder, file), "utf8");
  console.log(await SERVERS[name]!({ cert: await read("cert.pem"), key: await read("key.pem") }));
} else {
  await measure(Number(command ?? 5), Number(name || 2));
}
