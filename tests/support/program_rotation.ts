import { rename } from "node:fs/promises";
import { issueCa, type Issued, issueServer } from "./certificates.ts";
import { type TestFiles, withFiles } from "./files.ts";
import { startProgram } from "./programs.ts";
import type { WireClient, WireConnection } from "./wire_client.ts";

/** What the clients of one port saw while its certificate was swapped. */
export interface PortReport {
  /** How many new connections were served each certificate. */
  readonly connections: readonly number[];
  /** Connections that began their handshake after a swap and were served a certificate from before it. */
  readonly stale: number;
  /** What went wrong, a line each. */
  readonly failures: readonly string[];
  /** How many swaps the connection from before them has survived. */
  readonly survived: number;
}

type Connect = (onHandshake: () => void) => Promise<WireConnection>;

/** How often `rotateProgram()` swaps. */
export const SWAPS = 10;
const CLIENTS = 2;
/** The authority and the certificates of every program of a test file. */
let issuing: Promise<readonly [ca: string, issued: readonly Issued[]]> | undefined;

/**
 * Starts a program, swaps its certificate ten times under load, and stops it. The program takes the paths of certificate
 * and key, reloads on SIGHUP, logs its swaps, and prints the URL of each port.
 *
 * @param file The program.
 * @param clients The clients of its ports, by the scheme of the port's URL. Each gets a report.
 * @param env What its environment holds.
 */
export async function rotateProgram(
  file: string,
  clients: Readonly<Record<string, readonly WireClient[]>>,
  env: Readonly<Record<string, string>>,
): Promise<PortReport[]> {
  const [ca, issued] = await (issuing ??= issueAll());
  const [first, ...renewals] = issued;
  return await withFiles(async (files) => {
    await renew(files, first!);
    const program = startProgram(file, { args: [files.path("fullchain.pem"), files.path("privkey.pem")], env });
    try {
      const loads: Load[] = [];
      for (const [scheme, connects] of Object.entries(clients)) {
        const [, port] = await program.line(new RegExp(`^${scheme}://localhost:(\\d+)/$`));
        for (const connect of connects) {
          const options = { port: Number(port), ca };
          loads.push(await Load.begin((onHandshake) => connect({ ...options, onHandshake }), issued));
        }
      }
      for (const renewal of renewals) {
        await renew(files, renewal);
        program.kill("SIGHUP");
        await program.line(new RegExp(`^tls-reload swap .*fingerprint256=${renewal.fingerprint256}`));
        await Promise.all(loads.map((load) => load.swapped()));
      }
      return await Promise.all(loads.map((load) => load.end()));
    } finally {
      await program[Symbol.asyncDispose]();
    }
  });
}

async function issueAll(): Promise<readonly [ca: string, issued: readonly Issued[]]> {
  const issuer = await issueCa("CA");
  const names = Array.from({ length: SWAPS + 1 }, (_, index) => `certificate ${index}`);
  return [issuer.cert, await Promise.all(names.map((name) => issueServer(name, { issuer })))];
}

/** Puts a certificate and its key in place as renewal tools do: each file is replaced whole. */
async function renew(files: TestFiles, { cert, key }: Issued): Promise<void> {
  for (const [name, content] of [["privkey.pem", key], ["fullchain.pem", cert]] as const) {
    await rename(await files.write(`${name}.new`, content), files.path(name));
  }
}

/**
 * Clients of one port that connect again and again, and one that connected before the swaps.
 *
 * Invariant: a client that begins its handshake is served the certificate of the last confirmed swap or a later one, or
 * counts as stale. The first failure or stale client ends the load.
 */
class Load {
  readonly #connect: (onHandshake: () => void) => Promise<WireConnection>;
  readonly #fingerprints: readonly string[];
  readonly #connections: number[];
  readonly #failures: string[] = [];
  readonly #lasting: WireConnection;
  readonly #clients: readonly Promise<void>[];
  #swaps = 0;
  #survived = 0;
  #stale = 0;
  #isOver = false;
  #onVisit = () => {};

  private constructor(connect: Connect, issued: readonly Issued[], lasting: WireConnection) {
    this.#connect = connect;
    this.#fingerprints = issued.map(({ fingerprint256 }) => fingerprint256);
    this.#connections = issued.map(() => 0);
    this.#lasting = lasting;
    this.#clients = Array.from({ length: CLIENTS }, () => this.#visitOften());
  }

  static async begin(connect: Connect, issued: readonly Issued[]): Promise<Load> {
    return new Load(connect, issued, await connect(() => {}));
  }

  /** Confirms a swap. Waits until a new client got the certificate, and the lasting one an answer. */
  async swapped(): Promise<void> {
    this.#swaps++;
    await this.#lasting.exchange().then(() => this.#survived++, (error) => this.#fail("the lasting client", error));
    while (!this.#isOver && this.#connections[this.#swaps] === 0) {
      await new Promise<void>((resolve) => this.#onVisit = resolve);
    }
  }

  async end(): Promise<PortReport> {
    this.#isOver = true;
    await Promise.all(this.#clients);
    this.#lasting.close();
    return {
      connections: this.#connections,
      stale: this.#stale,
      failures: this.#failures,
      survived: this.#survived,
    };
  }

  async #visitOften(): Promise<void> {
    while (!this.#isOver) {
      await this.#visit().catch((error) => this.#fail("a new client", error));
      this.#onVisit();
    }
  }

  async #visit(): Promise<void> {
    let swapsBefore = 0;
    const connection = await this.#connect(() => swapsBefore = this.#swaps);
    const served = this.#fingerprints.indexOf(connection.fingerprint256);
    await connection.exchange().finally(() => connection.close());
    this.#connections[served]!++;
    if (served >= swapsBefore) return;
    this.#stale++;
    this.#isOver = true;
  }

  #fail(who: string, error: Error): void {
    this.#failures.push(`${who}: ${error.message}`);
    this.#isOver = true;
  }
}
