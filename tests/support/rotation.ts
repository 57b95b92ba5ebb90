import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { connect, type TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";
import { issueCa, issueServer } from "./certificates.ts";

/** What one rotation under load came to. */
export interface RotationReport {
  /** Connections by the certificate that they were served, in the order of the certificates. */
  readonly connections: readonly [number, number];
  readonly swaps: number;
  /** What went wrong, a line each. */
  readonly failures: readonly string[];
  /** Connections that were begun after a swap and were served the certificate from before it. */
  readonly stale: number;
  /** Long-lived connections that answered to the end, with every byte right. */
  readonly alive: number;
  readonly longLived: number;
  /** Exchanges on the long-lived connections. */
  readonly exchanges: number;
}

export interface RotationOptions {
  /** The program and what stands before the file: `["deno", "run", "-A"]`. */
  readonly command: readonly string[];
  /** Which of the servers of `rotation_server.ts`. */
  readonly server: string;
  readonly seconds: number;
  /** It goes on until there are so many swaps, and so many new connections by each certificate, unless one fails. */
  readonly atLeast?: { readonly swaps: number; readonly connections: number };
  /** @default {50} */
  readonly swapEveryMs?: number;
  /** Called ten times a second. */
  readonly onProgress?: (report: RotationReport) => void;
  /** Called in the middle, with what a client that is not ours needs. */
  readonly onServing?: (server: { port: number; caPath: string }) => Promise<void>;
}

const SERVER = fileURLToPath(new URL("rotation_server.ts", import.meta.url));
const CLIENTS = 16;
const LONG_LIVED = 4;
const BODY_BYTES = 512;

/**
 * Runs a server on a runtime, swaps its certificate under load, and counts. The server is another process: what
 * the clients are served is compared with what it had been told, and had confirmed, when they began.
 */
export async function rotate(options: RotationOptions): Promise<RotationReport> {
  const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
  const ca = await issueCa("demo CA");
  const issued = [await issueServer("first", { issuer: ca }), await issueServer("second", { issuer: ca })] as const;
  for (const [index, name] of ["first", "second"].entries()) {
    await writeFile(join(folder, `${name}.crt`), issued[index]!.cert);
    await writeFile(join(folder, `${name}.key`), issued[index]!.key, { mode: 0o600 });
  }
  const caPath = join(folder, "ca.crt");
  await writeFile(caPath, ca.cert);

  const [program = "", ...args] = options.command;
  const server = spawn(program, [...args, SERVER, folder, options.server], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: server.stdout })[Symbol.asyncIterator]();
  const nextLine = async () => JSON.parse((await lines.next()).value ?? "null");
  try {
    const { port } = await nextLine();
    return await load({
      ...options,
      port,
      ca: ca.cert,
      caPath,
      issued,
      swap: async () => {
        server.stdin.write("swap\n");
        return await nextLine();
      },
    });
  } finally {
    server.stdin.end();
    if (server.exitCode === null && server.signalCode === null) await once(server, "close");
    await rm(folder, { recursive: true });
  }
}

interface Load extends RotationOptions {
  readonly port: number;
  readonly ca: string;
  readonly caPath: string;
  readonly issued: readonly [{ fingerprint256: string }, { fingerprint256: string }];
  readonly swap: () => Promise<number>;
}

async function load(options: Load): Promise<RotationReport> {
  const { port, ca, caPath, issued, swap, seconds, swapEveryMs = 50, onProgress, onServing } = options;
  const { atLeast = { swaps: 0, connections: 0 } } = options;
  const connections: [number, number] = [0, 0];
  const failures: string[] = [];
  let [asked, confirmed, stale, alive, exchanges] = [0, 0, 0, 0, 0];
  const report = (): RotationReport => ({
    connections,
    swaps: confirmed,
    failures,
    stale,
    alive,
    longLived: LONG_LIVED,
    exchanges,
  });
  const fail = (what: string) => (error: Error) => void failures.push(`${what}: ${error.message}`);
  const dial = () => secureConnection(connect({ host: "127.0.0.1", port, ca, servername: "localhost" }));

  const certificates = issued.map(({ fingerprint256 }) => fingerprint256);
  const lasting = await Promise.all(Array.from({ length: LONG_LIVED }, dial));
  const end = Date.now() + seconds * 1000;
  const isEnough = () => confirmed >= atLeast.swaps && Math.min(...connections) >= atLeast.connections;
  const isOver = () => Date.now() >= end && (failures.length > 0 || isEnough());

  async function visitOften(): Promise<void> {
    while (!isOver()) {
      const since = confirmed;
      const client = await dial();
      const served = certificates.indexOf(client.getPeerCertificate().fingerprint256);
      await exchange(client).finally(() => client.destroy());
      if (served < 0) throw new Error("served a certificate of nobody");
      connections[served as 0 | 1]++;
      // While a swap is under way either is right; else it must be the one that was confirmed when this began.
      if (since === asked && served !== since % 2) stale++;
    }
  }

  async function talk(client: TLSSocket): Promise<void> {
    const [sent, received] = [createHash("sha256"), createHash("sha256")];
    while (!isOver()) {
      const body = await exchange(client, (chunk) => received.update(chunk));
      sent.update(body);
      exchanges++;
    }
    if (sent.digest("hex") !== received.digest("hex")) throw new Error("what came back is not what was sent");
    alive++;
  }

  async function swapOften(): Promise<void> {
    while (!isOver()) {
      await delay(swapEveryMs);
      asked++;
      confirmed = await swap();
    }
  }

  const progress = setInterval(() => onProgress?.(report()), 100);
  await Promise.all([
    swapOften(),
    ...Array.from({ length: CLIENTS }, async () => {
      while (!isOver()) await visitOften().catch(fail("a new connection"));
    }),
    ...lasting.map((client) => talk(client).catch(fail("a long-lived connection"))),
    onServing?.({ port, caPath }),
  ]).finally(() => clearInterval(progress));
  for (const client of lasting) client.destroy();
  return report();
}

async function secureConnection(client: TLSSocket): Promise<TLSSocket> {
  client.setNoDelay(true);
  await new Promise((resolve, reject) => {
    client.once("secureConnect", resolve);
    client.on("error", reject);
    client.once("close", () => reject(new Error("closed before the handshake was done")));
  });
  return client;
}

/** One HTTP request whose body is echoed; returns the body that was sent. */
async function exchange(client: TLSSocket, onBody: (chunk: Buffer) => unknown = () => {}): Promise<Buffer> {
  const body = randomBytes(BODY_BYTES);
  const head = `POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n`;
  const answered = new Promise<void>((resolve, reject) => {
    const decoder = new BodyDecoder(onBody);
    const onData = (chunk: Buffer) => decoder.push(chunk) && finish(resolve);
    const onClose = () => finish(() => reject(new Error("closed before the answer was complete")));
    const finish = (settle: () => void) => {
      client.removeListener("data", onData).removeListener("close", onClose);
      settle();
    };
    client.on("data", onData).once("close", onClose);
    if (client.destroyed) onClose();
  });
  client.write(Buffer.concat([Buffer.from(head), body]));
  await answered;
  return body;
}

/** As much of HTTP/1.1 as an echo takes: a head, then a body of known length or in chunks (RFC 9112 section 7.1). */
class BodyDecoder {
  readonly #onBody: (chunk: Buffer) => unknown;
  #rest = Buffer.alloc(0);
  /** The length of the body, `undefined` before the head is complete, and `NaN` for chunks. */
  #length: number | undefined;

  constructor(onBody: (chunk: Buffer) => unknown) {
    this.#onBody = onBody;
  }

  /** Takes what has arrived; `true` once the answer is complete. */
  push(bytes: Buffer): boolean {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    if (this.#length === undefined) {
      const end = this.#rest.indexOf("\r\n\r\n");
      if (end < 0) return false;
      const head = this.#take(end + 4).toString("latin1");
      if (!head.startsWith("HTTP/1.1 200 ")) throw new Error("the answer is none of HTTP 200");
      this.#length = Number(/^content-length: *(\d+)/im.exec(head)?.[1]);
    }
    if (!Number.isNaN(this.#length)) {
      if (this.#rest.length < this.#length) return false;
      this.#onBody(this.#take(this.#length));
      return true;
    }
    for (let end; (end = this.#rest.indexOf("\r\n")) >= 0;) {
      const length = parseInt(this.#rest.toString("latin1", 0, end), 16);
      if (this.#rest.length < end + 2 + length + 2) return false;
      this.#take(end + 2);
      if (length === 0) return true;
      this.#onBody(this.#take(length));
      this.#take(2);
    }
    return false;
  }

  #take(length: number): Buffer {
    const taken = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    return taken;
  }
}
