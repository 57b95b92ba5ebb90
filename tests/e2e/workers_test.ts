import { assertEquals } from "@std/assert";
import { once } from "node:events";
import process from "node:process";
import { Worker } from "node:worker_threads";
import { type Issued, issueServer } from "../support/certificates.ts";
import { opened, test } from "../support/closing_tests.ts";
import { withFiles } from "../support/files.ts";
import { visit } from "../support/peers.ts";

const NO_SHARED_PORT = process.platform !== "linux" && "reusePort shares connections among listeners on Linux only";
const VISITS = 20;
const [first, second] = await Promise.all([issueServer("first"), issueServer("second")]);

/** Threads that share a port. */
class Threads {
  port = 0;
  /** Everything that the threads and this one have told each other. */
  readonly messages: unknown[] = [];
  readonly #paths: { readonly certPath: string; readonly keyPath: string };

  constructor(paths: { readonly certPath: string; readonly keyPath: string }) {
    this.#paths = paths;
  }

  /** Starts a thread, and resolves when it listens. */
  async start(name: string): Promise<Worker> {
    const workerData = { name, port: this.port, ...this.#paths };
    this.messages.push(workerData);
    const worker = new Worker(new URL("../support/worker_server.ts", import.meta.url), { workerData });
    opened.add({ [Symbol.asyncDispose]: async () => void await worker.terminate() });
    worker.on("message", (message) => this.messages.push(message));
    [{ port: this.port }] = await once(worker, "message");
    return worker;
  }

  /** Tells a thread to reload, and resolves when it has swapped. */
  async reload(worker: Worker): Promise<void> {
    const swapped = once(worker, "message");
    worker.postMessage("reload");
    await swapped;
  }

  /** What clients see: the certificate, by the thread that serves it. */
  async served(...names: string[]): Promise<Record<string, string>> {
    const seen: Record<string, string> = {};
    for (let visits = 0; visits < VISITS || Object.keys(seen).length < names.length; visits++) {
      const { greeting = "a connection failed", fingerprint256 = "" } = await visit(this.port);
      const certificate = fingerprint256 === second.fingerprint256 ? "second" : "first";
      assertEquals(seen[greeting] ?? certificate, certificate, greeting);
      seen[greeting] = certificate;
    }
    assertEquals(Object.keys(seen).map((greeting) => greeting.split(",")[0]).sort(), names);
    return seen;
  }
}

test("threads that share a port swap one by one, fail no client, and no key passes between them", {
  skip: NO_SHARED_PORT,
}, () =>
  withFiles(async (files) => {
    const write = async ({ cert, key }: Issued) => {
      return { certPath: await files.write("cert.pem", cert), keyPath: await files.write("key.pem", key) };
    };
    const threads = new Threads(await write(first));
    const one = await threads.start("one");
    const two = await threads.start("two");
    await write(second);

    assertEquals(await threads.served("one", "two"), { "one, generation 0": "first", "two, generation 0": "first" });
    await threads.reload(one);
    assertEquals(await threads.served("one", "two"), { "one, generation 1": "second", "two, generation 0": "first" });
    await threads.start("late");
    assertEquals(await threads.served("late", "one", "two"), {
      "one, generation 1": "second",
      "two, generation 0": "first",
      "late, generation 0": "second",
    });
    await threads.reload(two);
    assertEquals(new Set(Object.values(await threads.served("late", "one", "two"))), new Set(["second"]));

    const said = JSON.stringify(threads.messages);
    for (const { cert, key } of [first, second]) {
      for (const line of `${cert}${key}`.split("\n").filter(Boolean)) assertEquals(said.includes(line), false);
    }
  }));
