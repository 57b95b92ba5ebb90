// What a stranger may try against a handoff, and what a process must survive. The file runs itself again in a process
// that has few descriptors and, if it was started by root, gives up its privileges.
import { assert, assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { TlsConfig } from "../../mod.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { issueCa, issuePair } from "../support/certificates.ts";
import { test } from "../support/closing_tests.ts";
import { HttpConnection } from "../support/http.ts";
import { NATIVE_RUNTIMES } from "../support/native_runtimes.ts";
import { descriptors, isListening, open, type Opened, tools, until } from "../support/real_handoff.ts";

/** Set in the process that gives up its privileges. */
const CHILD = "TLS_RELOAD_ATTACKED";
const isChild = process.env[CHILD] !== undefined;
const NOBODY = 65534;
const FILE_LIMIT = 200;
const THIS_FILE = fileURLToPath(import.meta.url);
const IMPORT_MAP = fileURLToPath(new URL("../std/import_map.json", import.meta.url));
const TEST_ARGS = process.versions["bun"]
  ? ["test", "--timeout", "60000"]
  : ["test", "-A", "--no-check", "--quiet", "--import-map", IMPORT_MAP];

if (!isChild) {
  const skip = NATIVE_RUNTIMES.length > 0 ? false : "needs Bun or Deno on Linux";
  test("handoff: attacks on a process without privileges come to nothing", { skip }, () => {
    const command = [`ulimit -n ${FILE_LIMIT}; exec "$0" "$@"`, process.execPath, ...TEST_ARGS, THIS_FILE];
    const env = { ...process.env, [CHILD]: "yes", NO_COLOR: "1" };
    const { status, stdout, stderr } = spawnSync("sh", ["-c", ...command], { env });
    assertEquals(status, 0, `${stdout}${stderr}`);
    return Promise.resolve();
  });
} else if (process.getuid!() === 0) {
  process.setgroups?.([]);
  process.setgid!(NOBODY);
  process.setuid!(NOBODY);
}

/** A kernel that does something before each call that changes something. */
function interrupted(kernel: Kernel, before: (operation: string) => void): Kernel {
  return new Proxy(kernel, {
    get(target, property: keyof Kernel) {
      const operation = target[property] as (...args: unknown[]) => unknown;
      return (...args: unknown[]) => {
        if (!/^(mark|port|isListening|cookie|tableSize|queue)$/.test(property)) before(property);
        return operation.apply(target, args);
      };
    },
  });
}

/** Waits until a generation serves. */
function serves(server: Opened, generation: number): Promise<void> {
  return until(() => server.handoff.servers.at(-1)?.generation === generation, `generation ${generation} serves`);
}

async function answerOf(server: Opened): Promise<string> {
  const connection = await server.dial();
  const { text } = await connection.ask("/");
  connection.close();
  return text;
}

for (const make of isChild ? NATIVE_RUNTIMES : []) {
  const { name } = make();

  test(`handoff of ${name}: a stranger cannot connect to the dummy, and the inner port gives what the public one does`, async () => {
    assert(process.getuid!() !== 0);
    const strangers: HttpConnection[] = [];
    const proof = Promise.withResolvers<void>();
    const server = await open(make, { beforeProof: ({ generation }) => generation > 0 ? proof.promise : undefined });
    const { dummy } = await tools();
    assertEquals(await isListening(server.kernel.port(dummy)), false);
    const expected = server.swap();
    await until(() => server.runtime.started.at(-1)!.generation === 1, "the next server");
    const inner = server.runtime.started.at(-1)!;
    strangers.push(await HttpConnection.open(inner.port));
    proof.resolve();
    while (server.handoff.servers.at(-1) !== inner) {
      // Closed by the handover, if it is still in the queue then.
      const stranger = await HttpConnection.open(inner.port).catch(() => undefined);
      if (stranger) strangers.push(stranger);
    }
    assertEquals(await isListening(inner.port), false);
    assertEquals(await isListening(server.kernel.port(dummy)), false);
    for (const stranger of strangers) {
      assertEquals(stranger.fingerprint256, expected);
      assertEquals((await stranger.ask("/")).text, "generation 1");
    }
    const counted = () => server.handoff.generations.at(-1)!.connections;
    await until(() => counted() === strangers.length, "strangers are counted");
    server.swap();
    await serves(server, 2);
    assertEquals(await answerOf(server), "generation 2");
    for (const stranger of strangers) {
      assertEquals((await stranger.ask("/")).text, "generation 1");
      stranger.close();
    }
    await until(() => server.handoff.generations.length === 1, "their generation has ended");
    assertEquals(server.errors, []);
  });

  test(`handoff of ${name}: a process that is spawned at any call inherits no listener`, async () => {
    const shared = await tools();
    let calls = -Infinity;
    const look = (operation: string) => {
      if (++calls < 0) return;
      const { stdout, error } = spawnSync("ls", ["-l", "/proc/self/fd"], { stdio: ["inherit", "pipe", "inherit"] });
      const listed = [...String(stdout).matchAll(/ (\d+) -> (.*)/g)];
      assert(listed.length > 2, String(error));
      // Beside standard input, output and error.
      const inherited = listed.filter(([, number, file]) => Number(number) > 2 && /^socket|fdinfo/.test(file!));
      assertEquals(inherited.map(([line]) => line), [], `before ${operation}`);
    };
    const server = await open(make, { tools: { ...shared, kernel: interrupted(shared.kernel, look) } });
    calls = 0;
    server.swap();
    await serves(server, 1);
    look("the end");
    assert(calls > 10, `${calls} calls`);
    assertEquals(await answerOf(server), "generation 1");
  });

  test(`handoff of ${name}: wherever descriptors run out, the newest serves once some are free, and nothing is left`, async () => {
    const shared = await tools();
    const before = descriptors(shared.kernel);
    let at = 0;
    for (let isOver = false; !isOver;) {
      at++;
      const taken: number[] = [];
      const release = () => taken.splice(0).forEach((descriptor) => closeSync(descriptor));
      let calls = -Infinity;
      const fill = () => {
        if (++calls !== at) return;
        try {
          for (;;) taken.push(openSync(THIS_FILE, "r"));
        } catch {
          setTimeout(release, 10);
        }
        assertEquals(shared.kernel.lowestFree(), -1);
      };
      const server = await open(make, { tools: { ...shared, kernel: interrupted(shared.kernel, fill) } });
      const kept = await server.dial();
      calls = 0;
      try {
        server.swap();
      } catch (error) {
        assertEquals((error as { code?: string }).code, "UNSUPPORTED");
        release();
        server.swap();
      }
      await serves(server, 1);
      isOver = calls < at;
      calls = -Infinity;
      await until(() => taken.length === 0, "descriptors are free");
      assertEquals(await answerOf(server), "generation 1");
      assertEquals((await kept.ask("/")).text, "generation 0");
      kept.close();
      await server[Symbol.asyncDispose]();
    }
    assert(at > 10, `${at} calls`);
    await until(() => descriptors(shared.kernel) <= before, "all sockets are closed");
  });
}

for (const make of NATIVE_RUNTIMES.filter((each) => isChild && each().name === "Bun.serve")) {
  test("handoff of Bun.serve: the inner port asks a stranger for the certificate that the public one asks for", async () => {
    const proof = Promise.withResolvers<void>();
    const server = await open(make, { beforeProof: ({ generation }) => generation > 0 ? proof.promise : undefined });
    const { cert: ca } = await issueCa("clients");
    server.state.swap(new TlsConfig({ ...await issuePair("required"), clientAuth: { mode: "required", ca } }));
    await until(() => server.runtime.started.at(-1)!.generation === 1, "the next server");
    const inner = server.runtime.started.at(-1)!;
    const ask = async (port: number) => {
      const stranger = await HttpConnection.open(port);
      return await stranger.ask("/").then(({ text }) => text, () => "no answer");
    };
    assertEquals(await ask(inner.port), "no answer");
    proof.resolve();
    await serves(server, 1);
    assertEquals(await ask(server.port), "no answer");
  });
}
