import { spawnSync } from "node:child_process";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import type { Issued } from "./certificates.ts";
import { Engine, missing } from "./engines.ts";

/** What a database serves with, and which clients it lets in. */
export interface DatabaseTls {
  readonly server: Issued;
  /** The authorities of the clients, as PEM. */
  readonly clients: string;
}

/** The user of the database, who needs no password but a certificate. */
export const USER = "app";
/** PostgreSQL refuses to run as root, so root becomes somebody else in its eyes. */
const AS_USER = process.getuid?.() === 0 ? ["unshare", "--user", "--map-user=1000", "--map-group=1000"] : [];
const POSTGRES = programsOfPostgres();

/** Why the tests of PostgreSQL are skipped, if they are. */
export const NO_POSTGRES: string | false = !succeeds(...AS_USER, join(POSTGRES, "postgres"), "--version") &&
  "PostgreSQL is not installed, or root cannot make a namespace for it";
/** Why the tests of Redis are skipped, if they are. */
export const NO_REDIS: string | false = missing("redis-server");

/** Starts PostgreSQL with an empty cluster. A client needs a certificate by one of the authorities. */
export async function startPostgres(tls: DatabaseTls): Promise<Engine> {
  const [command = "", ...args] = [...AS_USER, join(POSTGRES, "postgres")];
  const argsOf = (port: number, folder: string) => [...args, ...preparePostgres(port, folder, tls)];
  const engine = await Engine.start(command, argsOf, "SIGQUIT");
  // It accepts connections before it answers them.
  const isReady = () => succeeds(join(POSTGRES, "pg_isready"), "-h", "127.0.0.1", "-p", String(engine.port));
  while (!isReady()) await new Promise((resolve) => setTimeout(resolve, 20));
  return engine;
}

function preparePostgres(port: number, folder: string, tls: DatabaseTls): readonly string[] {
  const { cert, key, ca } = writeFiles(folder, tls);
  const [access, data] = [join(folder, "access.conf"), join(folder, "data")];
  writeFileSync(access, "hostssl all all 127.0.0.1/32 trust clientcert=verify-ca\n");
  run(...AS_USER, join(POSTGRES, "initdb"), "-D", data, "-U", USER, "--auth=trust", "--no-sync", "--locale=C");
  const settings = {
    ...{ listen_addresses: "127.0.0.1", unix_socket_directories: "", fsync: "off", hba_file: access },
    ...{ ssl: "on", ssl_cert_file: cert, ssl_key_file: key, ssl_ca_file: ca },
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  return ["-D", data, "-p", String(port), ...options];
}

/** Starts Redis with nothing in it. A client needs a certificate by one of the authorities. */
export function startRedis(tls: DatabaseTls): Promise<Engine> {
  return Engine.start("redis-server", (port, folder) => {
    const { cert, key, ca } = writeFiles(folder, tls);
    const files = ["--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", ca];
    return ["--port", "0", "--bind", "127.0.0.1", "--tls-port", String(port), ...files, "--save", ""];
  });
}

function writeFiles(folder: string, { server, clients }: DatabaseTls): { cert: string; key: string; ca: string } {
  const [cert, key, ca] = ["server.pem", "server.key", "clients.pem"].map((name) => join(folder, name));
  writeFileSync(cert!, server.cert);
  writeFileSync(key!, server.key, { mode: 0o600 });
  writeFileSync(ca!, clients);
  return { cert: cert!, key: key!, ca: ca! };
}

function run(...[command = "", ...args]: string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} failed: ${error?.message ?? stderr}`);
}

function succeeds(...[command = "", ...args]: string[]): boolean {
  return spawnSync(command, args).status === 0;
}

/** Debian puts them in a folder of their version, which is not in `PATH`. */
function programsOfPostgres(): string {
  const folder = "/usr/lib/postgresql";
  try {
    return join(folder, readdirSync(folder).toSorted((a, b) => Number(b) - Number(a))[0] ?? "", "bin");
  } catch {
    return "";
  }
}
