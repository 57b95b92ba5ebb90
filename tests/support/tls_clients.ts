import { execFile, spawn, spawnSync } from "node:child_process";
import { hash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename } from "node:fs/promises";
import process from "node:process";
import { createInterface } from "node:readline";
import { connect } from "node:tls";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** What a client asks for. */
export interface Ask {
  /** The name to send; no name is sent if it is absent. */
  readonly name?: string;
  /** The only kind of key that the client verifies. */
  readonly kind?: "EC" | "RSA";
  /** The only version that the client speaks. */
  readonly version?: "TLSv1.2" | "TLSv1.3";
}

/** A client that is told by its options what it verifies. */
export interface NamedClient {
  readonly title: string;
  /** What it cannot do is left out of a test. */
  can(ask: Ask): boolean;
  /** The common name of the certificate that it is served; `undefined` if there is no handshake. */
  commonName(port: number, ask: Ask): Promise<string | undefined>;
}

/** The one folder that this repository installs into. */
const INSTALLED = new URL("../../.runtimes/", import.meta.url);
const SIGNATURES = { EC: "ECDSA+SHA256", RSA: "RSA-PSS+SHA256:RSA+SHA256" };
const SUITES = { EC: "ECDHE-ECDSA-AES128-GCM-SHA256", RSA: "ECDHE-RSA-AES128-GCM-SHA256" };

/** Runs a program to its end, and gives everything that it prints. */
function printed(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] });
    let text = "";
    child.stdin.on("error", () => {}).end();
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (part) => text += part);
    child.once("close", () => resolve(text));
  });
}

const openssl: NamedClient = {
  title: "openssl",
  can: () => true,
  async commonName(port, { name, kind, version }) {
    const output = await printed("openssl", [
      ...["s_client", "-connect", `127.0.0.1:${port}`],
      ...(name === undefined ? ["-noservername"] : ["-servername", name]),
      ...(kind ? ["-sigalgs", SIGNATURES[kind]] : []),
      ...(version ? [version === "TLSv1.2" ? "-tls1_2" : "-tls1_3"] : []),
      ...(kind && version === "TLSv1.2" ? ["-cipher", SUITES[kind]] : []),
    ]);
    return /^subject=CN ?= ?(.*)$/m.exec(output)?.[1];
  },
};

const curl: NamedClient = {
  title: "curl",
  // It always sends a name, and cannot be told which signatures to verify.
  can: ({ name, kind, version }) => name !== undefined && (!kind || version === "TLSv1.2"),
  async commonName(port, { name, kind, version }) {
    const output = await printed("curl", [
      ...["--insecure", "--silent", "--verbose", "--max-time", "20", "--connect-to", `::127.0.0.1:${port}`],
      ...(version === "TLSv1.2" ? ["--tls-max", "1.2"] : version ? ["--tlsv1.3"] : []),
      ...(kind ? ["--ciphers", SUITES[kind]] : []),
      `https://${name}:${port}/`,
    ]);
    return /^\*\s+subject: CN=(.*)$/m.exec(output)?.[1];
  },
};

const own: NamedClient = {
  title: "this runtime",
  // The runtimes share no option for signatures; cipher suites of TLS 1.2 they do, but for Deno.
  can: ({ kind }) => !kind,
  commonName(port, { name, version }) {
    return new Promise((resolve) => {
      const client = connect({
        ...{ host: "127.0.0.1", port, rejectUnauthorized: false },
        ...(name !== undefined && { servername: name }),
        ...(version && { minVersion: version, maxVersion: version }),
      });
      client.once("secureConnect", () => {
        resolve(client.getPeerCertificate().subject?.CN?.toString());
        client.destroy();
      });
      client.on("error", () => resolve(undefined)).once("close", () => resolve(undefined));
    });
  },
};

/** The client of Go, where Go is installed. */
async function goClient(): Promise<NamedClient | undefined> {
  const program = await builtGoClient();
  if (program === undefined) return undefined;
  return {
    title: "Go",
    // Without a name it sends none only if the address is one; a trailing dot it removes itself.
    can: ({ kind, version }) => !kind || version === "TLSv1.2",
    async commonName(port, { name = "", kind = "", version = "" }) {
      return /^CN=(.*)$/m.exec(await printed(program, [`127.0.0.1:${port}`, name || "127.0.0.1", version, kind]))?.[1];
    },
  };
}

/** Builds the client of Go, once for all runtimes and files; `undefined` where Go is not installed. */
export async function builtGoClient(): Promise<string | undefined> {
  const source = fileURLToPath(new URL("go_client.go", import.meta.url));
  const program = fileURLToPath(new URL(`go_client-${hash("sha256", await readFile(source))}`, INSTALLED));
  if (existsSync(program)) return program;
  if (spawnSync("go", ["version"]).status !== 0) return undefined;
  await mkdir(INSTALLED, { recursive: true });
  // Another test file may build it at the same time.
  const built = `${program}.${process.pid}`;
  await promisify(execFile)("go", ["build", "-o", built, source]);
  await rename(built, program);
  return program;
}

/** The program of Bun, where it is installed. */
export function installedBun(): string | undefined {
  const program = fileURLToPath(new URL("node_modules/bun/bin/bun", INSTALLED));
  return existsSync(program) ? program : undefined;
}

/** The client of Bun, that is of BoringSSL, for the other runtimes. One process answers all questions. */
function bunClient(bun: string): NamedClient & Disposable {
  const child = spawn(bun, [fileURLToPath(new URL("bun_client.ts", import.meta.url))], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    title: "Bun",
    can: ({ kind, version }) => !kind || version === "TLSv1.2",
    async commonName(port, { kind, ...ask }) {
      child.stdin.write(`${JSON.stringify({ port, ...ask, suites: kind && SUITES[kind] })}\n`);
      return JSON.parse((await answers.next()).value ?? "{}").commonName;
    },
    [Symbol.dispose]: () => void child.kill(),
  };
}

/** Every client that is on this machine, and what ends them. */
export async function namedClients(): Promise<{ clients: readonly NamedClient[]; dispose(): void }> {
  const go = await goClient();
  const program = process.versions["bun"] ? undefined : installedBun();
  const bun = program === undefined ? undefined : bunClient(program);
  const clients = [openssl, curl, own, ...(go ? [go] : []), ...(bun ? [bun] : [])];
  return { clients, dispose: () => bun?.[Symbol.dispose]() };
}
