import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import test from "node:test";
import { parseClientHello } from "../../src/accept/client_hello.ts";
import { mutated } from "../fuzz/mutations.ts";
import { hello } from "../fuzz/targets.ts";
import { issueServer } from "../support/certificates.ts";
import { capturedHellos, inRecords, madeHello } from "../support/client_hellos.ts";

/** How many to try; a run by hand tries more. */
const RUNS = Number(process.env["TLS_RELOAD_HELLOS"] ?? 2_000);
const COMPARED = Number(process.env["TLS_RELOAD_COMPARED_HELLOS"] ?? 200);

const captured = await capturedHellos();
const seeds = [...captured, ...captured.map((each) => inRecords(each, 100)), madeHello(undefined)];

test("parseClientHello() returns a hello, undefined or a RangeError for nearly correct hellos", () => {
  for (const seed of seeds) assert(parseClientHello(seed));
  fc.assert(fc.property(mutated(seeds), hello), { seed: 1, numRuns: RUNS });
});

/** `openssl s_server`, which prints the name that each client asks for. */
class OpensslServer implements AsyncDisposable {
  readonly #folder: string;
  readonly #process: ReturnType<typeof spawn>;
  readonly #port: number;
  #printed = "";

  private constructor(folder: string, process: ReturnType<typeof spawn>, port: number) {
    this.#folder = folder;
    this.#process = process;
    this.#port = port;
    process.stdout!.setEncoding("latin1").on("data", (text) => this.#printed += text);
  }

  static async start(): Promise<OpensslServer> {
    const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
    const { cert, key } = await issueServer("oracle");
    await writeFile(join(folder, "server.pem"), cert + key);
    const files = ["-cert", "server.pem", "-cert2", "server.pem"];
    // A line at a time: a pipe would be written to when a block of lines is full.
    const child = spawn("stdbuf", [
      "-oL",
      "openssl",
      "s_server",
      "-accept",
      "127.0.0.1:0",
      "-servername",
      "oracle.test",
      ...files,
    ], {
      cwd: folder,
      stdio: ["pipe", "pipe", "ignore"],
    });
    let started = "";
    let port: string | undefined;
    while (!port) {
      started += (await once(child.stdout, "data"))[0];
      port = /ACCEPT 127\.0\.0\.1:(\d+)/.exec(started)?.[1];
    }
    return new OpensslServer(folder, child, Number(port));
  }

  /** The names that it reads in the bytes of one connection: one, or none. */
  async namesIn(bytes: Uint8Array): Promise<string[]> {
    this.#printed = "";
    await this.#send(bytes);
    // It serves one client after another: the name of the next shows that it is done with this one.
    await this.#send(MARKER);
    while (!this.#printed.includes(`"end.of.input"`)) await once(this.#process.stdout!, "data");
    const names = [...this.#printed.matchAll(/Hostname in TLS extension: "(.*)"/g)].map(([, name = ""]) => name);
    return names.slice(0, -1).map((name) =>
      name.replace(/\\x(..)/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)))
    );
  }

  async #send(bytes: Uint8Array): Promise<void> {
    const socket = connect(this.#port, "127.0.0.1").on("error", () => {});
    socket.resume();
    await once(socket, "connect");
    socket.end(bytes);
    if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await rm(this.#folder, { recursive: true, force: true });
  }
}

const MARKER = Buffer.from(captured[0]!.toString("latin1").replace("openssl.test", "end.of.input"), "latin1");

test("parseClientHello() reads the same names as openssl s_server", async () => {
  const server = await OpensslServer.start();
  let named = 0;
  const property = fc.asyncProperty(mutated(seeds), async (bytes) => {
    const names = await server.namesIn(bytes);
    if (names.length === 0) return;
    named++;
    const ours = parseClientHello(bytes)?.serverName;
    assertEquals(ours, names[0]!.toLowerCase().replace(/\.$/, ""));
  });
  try {
    await fc.assert(property, { seed: 1, numRuns: COMPARED });
    assert(named > COMPARED / 10, `${named} of ${COMPARED} had a name`);
  } finally {
    await server[Symbol.asyncDispose]();
  }
});
