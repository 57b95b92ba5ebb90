// The peers, each started as its own documentation says a server with a certificate that changes is run.
import type { ChildProcess } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createConnection } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { type Bench, put } from "./bench.ts";
import { freePort } from "../../tests/support/ports.ts";
import { LineChild, listening, type Running, spawnChild, stopChild } from "./child.ts";

/** Starts a peer, alone or in front of a server without TLS, whose port is given. */
export type StartPeer = (bench: Bench, folder: string, innerPort?: number) => Promise<Running>;

/** Idle connections stay, however long it takes to open the others. */
const LONG_S = 600;
/** More than any part opens. */
const CONNECTIONS = 12_000;

export const nginx: StartPeer = async (bench, folder, innerPort) => {
  const port = await freePort();
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${folder};`);
  const location = innerPort === undefined
    ? `return 200 "hello\\n";`
    : `proxy_pass http://inner; proxy_http_version 1.1; proxy_set_header Connection $kept;
      proxy_set_header Upgrade $http_upgrade; proxy_max_temp_file_size 0;`;
  const upstream = `upstream inner { server 127.0.0.1:${innerPort}; keepalive 64; keepalive_requests 1000000; }`;
  const file = join(folder, `nginx-${port}.conf`);
  await writeFile(
    file,
    `daemon off; worker_processes 1; pid ${file}.pid; error_log /dev/null crit;
events { worker_connections ${CONNECTIONS}; }
http {
  access_log off; keepalive_requests 1000000; keepalive_timeout ${LONG_S}s; ${temporary.join(" ")}
  map $http_upgrade $kept { default upgrade; "" ""; }
  ${innerPort === undefined ? "" : upstream}
  server {
    listen 127.0.0.1:${port} ssl http2; ssl_certificate ${folder}/tls.crt; ssl_certificate_key ${folder}/tls.key;
    location / { ${location} }
  }
}
`,
  );
  const child = spawnChild("nginx", ["-c", file, "-e", "/dev/null"]);
  await listening(port);
  // What `nginx -s reload` does, and as little of an answer.
  return running(port, child, swapping(bench, folder, () => hangUp(child)));
};

export const haproxy: StartPeer = async (bench, folder, innerPort) => {
  const port = await freePort();
  const file = join(folder, `haproxy-${port}.conf`);
  const admin = `${file}.sock`;
  const rule = innerPort === undefined
    ? `http-request return status 200 content-type text/plain string "hello"`
    : `server inner 127.0.0.1:${innerPort}`;
  await writeFile(
    file,
    `global
  nbthread 1
  maxconn ${CONNECTIONS}
  no strict-limits
  stats socket ${admin} level admin
defaults
  mode http
  timeout client ${LONG_S}s
  timeout server ${LONG_S}s
  timeout http-request ${LONG_S}s
  timeout http-keep-alive ${LONG_S}s
  timeout connect 5s
  http-reuse always
listen public
  bind 127.0.0.1:${port} ssl crt ${folder}/tls.pem alpn h2,http/1.1
  ${rule}
`,
  );
  const child = spawnChild("haproxy", ["-f", file]);
  await listening(port);
  const tell = async ({ cert, key }: { cert: string; key: string }) => {
    await command(admin, `set ssl cert ${folder}/tls.pem <<\n${cert}${key}\n`);
    const answer = await command(admin, `commit ssl cert ${folder}/tls.pem\n`);
    if (!answer.includes("Success")) throw new Error(`Cannot measure: HAProxy refuses: ${answer}`);
  };
  return running(port, child, swapping(bench, folder, tell));
};

export const hitch: StartPeer = async (bench, folder, innerPort) => {
  const port = await freePort();
  const inner = createServer({ keepAliveTimeout: 0 }, (_request, response) => response.end("hello\n"));
  if (innerPort === undefined) await new Promise<void>((resolve) => inner.listen(0, "127.0.0.1", resolve));
  const file = join(folder, `hitch-${port}.conf`);
  await writeFile(
    file,
    `frontend = { host = "127.0.0.1" port = "${port}" }
backend = "[127.0.0.1]:${innerPort ?? (inner.address() as { port: number }).port}"
pem-file = "${folder}/tls.pem"
workers = 1
daemon = off
quiet = on
`,
  );
  const child = spawnChild("hitch", [`--config=${file}`, "--user=nobody"]);
  await listening(port);
  return {
    ...running(port, child, swapping(bench, folder, () => hangUp(child))),
    stop: async () => {
      await stopChild(child);
      inner.closeAllConnections();
      inner.close();
    },
  };
};

export const caddy: StartPeer = async (bench, folder, innerPort) => {
  const [port, adminPort] = [await freePort(), await freePort()];
  const file = join(folder, `Caddyfile-${port}`);
  const config = `{
  admin 127.0.0.1:${adminPort}
  auto_https off
}
https://localhost:${port} {
  bind 127.0.0.1
  tls ${folder}/tls.crt ${folder}/tls.key
  ${innerPort === undefined ? 'respond "hello"' : `reverse_proxy 127.0.0.1:${innerPort}`}
}
`;
  await writeFile(file, config);
  const home = { HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder };
  const child = spawnChild("caddy", ["run", "--config", file, "--adapter", "caddyfile"], home);
  await listening(port);
  // What `caddy reload --force` does.
  const tell = async () => {
    const headers = { "content-type": "text/caddyfile", "cache-control": "must-revalidate" };
    const response = await fetch(`http://127.0.0.1:${adminPort}/load`, { method: "POST", headers, body: config });
    const text = await response.text();
    if (!response.ok) throw new Error(`Cannot measure: Caddy refuses: ${text}`);
  };
  return running(port, child, swapping(bench, folder, tell));
};

/** A `http.Server` of Go whose `GetCertificate` gives what was loaded last. */
export const goServer: StartPeer = async (bench, folder) =>
  await LineChild.start(await bench.goPeer(), ["serve", folder]);

/** The same, which follows the files. */
export const goWatcher: StartPeer = async (bench, folder) =>
  await LineChild.start(await bench.goPeer(), ["watch", folder]);

function running(port: number, child: ChildProcess, swap: () => Promise<void>): Running {
  return { port, pids: [child.pid!], swap, stop: () => stopChild(child) };
}

function swapping(
  { pairs }: Bench,
  folder: string,
  tell: (pair: { cert: string; key: string }) => void | Promise<void>,
): () => Promise<void> {
  let swaps = 0;
  return async () => {
    const pair = pairs[++swaps % 2]!;
    await put(folder, pair);
    await tell(pair);
  };
}

/** Not `child.kill()`: after the first signal that it sends, Deno sends no other. */
function hangUp(child: ChildProcess): void {
  process.kill(child.pid!, "SIGHUP");
}

/** One command of the runtime API of HAProxy. */
function command(path: string, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path, () => socket.write(text));
    let answer = "";
    socket.on("data", (part) => answer += part).on("error", reject).once("end", () => resolve(answer));
  });
}
