// What every part of the bench is given: how long to measure, the runtimes, the peers that are installed, certificates.
import { execFile } from "node:child_process";
import { chmod, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { issueCa, issueClient, type Issued, issueServer } from "../../tests/support/certificates.ts";
import { deno, installDeno27, installRuntimes, type Runtime } from "../../tests/support/runtimes.ts";

export interface BenchOptions {
  /** How often everything is measured in turn. */
  readonly rounds: number;
  /** How long a load lasts. */
  readonly seconds: number;
  /** Whether to show that it works, and no more. */
  readonly isQuick: boolean;
}

export interface Bench extends BenchOptions {
  readonly runtimes: {
    readonly deno: Runtime;
    readonly bun: Runtime;
    readonly node: Runtime;
    /** The last Deno whose `Deno.serve` does not stall; `undefined` if it cannot be installed. */
    readonly deno27: Runtime | undefined;
  };
  /** The peers that are installed, with their versions. */
  readonly peers: ReadonlyMap<string, string>;
  /** Two certificates of the kind that is usual, P-256. */
  readonly pairs: readonly [Issued, Issued];
  /** What a reader must know about a part, a sentence each. */
  readonly notes: Set<string>;
  /** Builds the program of the Go peers, once. */
  goPeer(): Promise<string>;
  /**
   * A new folder with `first`, `second`, `tls` and `client`, each `.crt` and `.key`, `tls.pem` with both, and
   * `clients.crt`, the authority of `client`.
   */
  folder(pairs?: readonly [Issued, Issued]): Promise<string>;
  /** Removes what was made. */
  close(): Promise<void>;
}

/** Everything that can take part, and what says its version. */
const PEERS: Record<string, readonly string[]> = {
  nginx: ["nginx", "-v"],
  HAProxy: ["haproxy", "-v"],
  hitch: ["hitch", "--version"],
  Caddy: ["caddy", "version"],
  Go: ["go", "version"],
  wrk: ["wrk", "-v"],
  h2load: ["h2load", "--version"],
  etcd: ["etcd", "--version"],
  Redis: ["redis-server", "--version"],
  NATS: ["nats-server", "--version"],
};
const GO_SOURCE = fileURLToPath(new URL("go_peer.go", import.meta.url));
const run = promisify(execFile);

export async function openBench(options: BenchOptions): Promise<Bench> {
  const root = await mkdtemp(join(tmpdir(), "tls-reload-bench-"));
  // The workers of nginx and hitch are other users.
  await chmod(root, 0o711);
  const peers = new Map<string, string>();
  for (const [name, command] of Object.entries(PEERS)) {
    const version = await versionOf(command);
    if (version) peers.set(name, version);
  }
  const { bun, node } = await installRuntimes();
  const deno27 = await installDeno27();
  const pairs = [await issueServer("first"), await issueServer("second")] as const;
  const authority = await issueCa("clients");
  const client = await issueClient("client", { issuer: authority });
  let folders = 0;
  let goPeer: Promise<string> | undefined;
  return {
    ...options,
    runtimes: { deno, bun, node, deno27 },
    peers,
    pairs,
    notes: new Set(),
    goPeer: () => goPeer ??= buildGoPeer(root),
    async folder(issued = pairs) {
      const folder = join(root, String(folders++));
      await mkdir(folder);
      await chmod(folder, 0o711);
      for (const [name, { cert, key }] of Object.entries({ first: issued[0], second: issued[1], client })) {
        await writeFile(join(folder, `${name}.crt`), cert);
        await writeFile(join(folder, `${name}.key`), key, { mode: 0o600 });
      }
      await writeFile(join(folder, "clients.crt"), authority.cert);
      await put(folder, issued[0]);
      return folder;
    },
    close: () => rm(root, { recursive: true, force: true }),
  };
}

/** Renames a pair over the one that is there: the file of both, the key, and last the certificate. */
export async function put(folder: string, { cert, key }: Issued): Promise<void> {
  for (const [name, content] of [["tls.pem", cert + key], ["tls.key", key], ["tls.crt", cert]] as const) {
    const path = join(folder, name);
    await writeFile(`${path}.new`, content, { mode: 0o600 });
    await rename(`${path}.new`, path);
  }
}

/** Measures one thing. What fails is noted, and the others are worth no less for it. */
export async function attempt<Figures>(
  { notes }: Bench,
  name: string,
  measure: () => Promise<Figures>,
): Promise<Figures | undefined> {
  try {
    return await measure();
  } catch (error) {
    notes.add(`${name} failed once: ${error instanceof Error ? error.message : error}`);
    return undefined;
  }
}

/** Everything that takes part, with its version. */
export function versionsOf({ runtimes, peers }: Bench): readonly string[] {
  const names = Object.values(runtimes).flatMap((runtime) => runtime ? [runtime.name] : []);
  return [...names, ...Object.keys(PEERS).map((name) => `${name} ${peers.get(name) ?? "absent"}`)];
}

async function buildGoPeer(folder: string): Promise<string> {
  const program = join(folder, "go_peer");
  await run("go", ["build", "-o", program, GO_SOURCE], { env: { ...process.env, GO111MODULE: "off", GOPROXY: "off" } });
  return program;
}

async function versionOf([program, ...args]: readonly string[]): Promise<string | undefined> {
  const output = await run(program!, args).catch((error) => error);
  return /\d+\.\d+(\.\d+)?/.exec(`${output.stdout ?? ""}${output.stderr ?? ""}`)?.[0];
}
