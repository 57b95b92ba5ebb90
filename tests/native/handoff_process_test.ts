import { assert, assertEquals } from "@std/assert";
import { once } from "node:events";
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { connect as connectTls } from "node:tls";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { issueServer } from "../support/certificates.ts";
import { type HandoffChildOptions, startHandoffChild } from "../support/handoff_child.ts";
import { HttpConnection } from "../support/http.ts";
import { opened, test } from "../support/closing_tests.ts";
import { NATIVE_RUNTIMES } from "../support/native_runtimes.ts";
import { freePort } from "../support/ports.ts";

const certificates = await Promise.all(["first", "second", "third"].map((name) => issueServer(name)));
const onDeno = process.versions["deno"] !== undefined;
const onBun = process.versions["bun"] !== undefined;
const ON_NATIVE = { skip: onBun || onDeno ? false : "Node has no native servers" } as const;
const IMPORT_MAP = fileURLToPath(new URL("../std/import_map.json", import.meta.url));
const DEADLINE_MS = 20_000;

async function start(init: object = {}, options?: HandoffChildOptions) {
  const child = await startHandoffChild({ certificates, ...init }, options);
  opened.add(child);
  return child;
}

async function ask(port: number): Promise<string> {
  const connection = await HttpConnection.open(port);
  const { text } = await connection.ask("/");
  connection.close();
  return text;
}

async function isListening(port: number): Promise<boolean> {
  const socket = connectTcp({ host: "127.0.0.1", port });
  const isOpen = await new Promise<boolean>((resolve) =>
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false))
  );
  socket.destroy();
  return isOpen;
}

async function until(condition: () => Promise<boolean>, what: string): Promise<void> {
  for (const end = Date.now() + DEADLINE_MS; !await condition();) {
    if (Date.now() > end) throw new Error(`never: ${what}`);
    await delay(20);
  }
}

for (const [kind, make] of NATIVE_RUNTIMES.entries()) {
  const { name } = make();

  test(`handoff of ${name}: a child process keeps neither the port nor a connection`, async () => {
    const server = await start({ kind });
    const { port } = server.first;
    const { pid } = await server.tell("spawn") as { pid: number };
    assertEquals(await ask(port!), "generation 1");
    await server[Symbol.asyncDispose]();
    assertEquals(process.kill(pid, 0), true);
    assertEquals(await isListening(port!), false);
    process.kill(pid, "SIGKILL");
  });

  // Deno ignores unref() of a TLS listener, also of a bare one (Deno 2.9.6).
  if (name !== "Deno.listenTls") {
    test(`handoff of ${name}: an unref'd server lets the process end, after a swap as well`, async () => {
      const server = await start({ kind });
      await server.tell("unref");
      assertEquals(await server.exited, 0);
    });
  }

  test(`handoff of ${name}: worker.terminate() frees the port`, async () => {
    const server = await start({ kind });
    const ports = await server.tell("work", 2, { port: 0 }) as number[];
    const swapped = await server.tell("workersSwap", 5) as { generation: number; errors: string[] }[];
    assertEquals(swapped, [{ generation: 5, errors: [] }, { generation: 5, errors: [] }]);
    for (const port of ports) assertEquals(await ask(port), "generation 5");
    await server.tell("terminate");
    for (const port of ports) await until(async () => !await isListening(port), "the port is free");
    assertEquals(await ask(server.first.port!), "generation 0");
  });

  test(`handoff of ${name}: worker.terminate() leaves nothing open while no server accepts`, async () => {
    const server = await start({ kind });
    const parkAndTerminate = async () => {
      const [port = 0] = await server.tell("work", 1, { port: 0 }) as number[];
      await server.tell("workersPark");
      assertEquals(await isListening(port), true);
      await server.tell("terminate");
      await until(async () => !await isListening(port), "the port is free");
    };
    // Deno keeps what its first worker opens for all of them.
    await parkAndTerminate();
    const descriptors = await server.tell("descriptors") as number;
    await parkAndTerminate();
    await until(async () => await server.tell("descriptors") <= descriptors, "its descriptors are closed");
  });

  test(`handoff of ${name}: a swap every 50 ms under 16 clients that connect anew, 0 failed, 0 stale`, async () => {
    const server = await start({ kind });
    const port = server.first.port!;
    const kept = await Promise.all(Array.from({ length: 4 }, () => HttpConnection.open(port)));
    const [half] = kept;
    half!.socket.write("GET / HTTP/1.1\r\n");
    let [begun, done, connections, stale] = [0, 0, 0, 0];
    let isOver = false;
    const failures: string[] = [];
    const visit = async () => {
      while (!isOver) {
        const since = done;
        try {
          const connection = await HttpConnection.open(port);
          const generation = Number((await connection.ask("/")).text.split(" ")[1]);
          connection.close();
          connections++;
          if (generation < since || generation > begun) stale++;
        } catch (error) {
          failures.push(String(error));
        }
      }
    };
    const clients = Array.from({ length: 16 }, visit);
    let line = await server.tell("rotate", 60, 50) as { before?: number; after?: number; costs?: number[] };
    for (; !line.costs; line = await server.hears()) {
      if (line.before) begun = line.before;
      if (line.after) done = line.after;
    }
    isOver = true;
    await Promise.all(clients);
    assertEquals([failures, stale], [[], 0]);
    assert(connections > 300, `${connections} connections`);
    half!.socket.write("Host: localhost\r\n\r\n");
    assertEquals((await half!.answer()).text, "generation 0");
    for (const connection of kept.slice(1)) assertEquals((await connection.ask("/")).text, "generation 0");
    for (const connection of kept) connection.close();
    assertEquals(await server.tell("errors"), []);
    await until(async () => (await server.tell("generations") as unknown[]).length === 1, "the old ones have ended");
  });

  test(`handoff of ${name}: 300 swaps with traffic leave descriptors, memory and timers where they were`, async () => {
    const server = await start({ kind });
    const port = server.first.port!;
    const swapSome = async (times: number) => {
      for (let time = 0; time < times; time++) {
        await server.tell("swap");
        await ask(port);
      }
      await until(async () => (await server.tell("generations") as unknown[]).length === 1, "the old ones have ended");
      await delay(100);
      const answers = [await server.tell("descriptors"), await server.tell("memory"), await server.tell("wakeups")];
      return answers as number[];
    };
    const [descriptors, memory, wakeups] = await swapSome(60);
    const [descriptorsLater, memoryLater, wakeupsLater] = await swapSome(300);
    assert(Math.abs(descriptorsLater! - descriptors!) <= 2, `${descriptors} descriptors, then ${descriptorsLater}`);
    assert(wakeupsLater! <= wakeups! + 10, `${wakeups} wakeups, then ${wakeupsLater}`);
    // 300 servers that were not freed would be 10 MiB and more.
    assert(memoryLater! - memory! < 40 * 2 ** 20, `${memory} bytes, then ${memoryLater}`);
  });

  test(`handoff of ${name}: without free descriptors a swap is refused, with some it works, and the server recovers`, async () => {
    const server = await start({ kind }, { fileLimit: 128 });
    const port = server.first.port!;
    let generation = 0;
    for (const free of [0, 1, 3, 7]) {
      assertEquals(await server.tell("swapWith", free), { code: "UNSUPPORTED", generation });
      await server.tell("release");
      assertEquals(await ask(port), `generation ${generation}`);
    }
    for (const free of [8, 9, 12]) {
      assertEquals(await server.tell("swapWith", free), { generation: ++generation });
      await server.tell("release");
      await until(async () => await ask(port) === `generation ${generation}`, "the newest serves");
    }
  });

  test(`handoff of ${name}: a crowd that takes every descriptor ends it for a moment only`, async () => {
    const server = await start({ kind }, { fileLimit: 128 });
    const port = server.first.port!;
    await server.tell("swap");
    await server.tell("fill", 10);
    const crowd = Array.from({ length: 60 }, () => connectTls({ host: "127.0.0.1", port, rejectUnauthorized: false }));
    for (const socket of crowd) socket.on("error", () => {}).write("GET / HTTP/1.1\r\n");
    await delay(300);
    for (const socket of crowd) socket.destroy();
    await server.tell("release");
    await until(() => ask(port).then((text) => text === "generation 1", () => false), "it serves again");
    await server.tell("swap");
    assertEquals(await ask(port), "generation 2");
  });
}

test("handoff: two processes share a port by reusePort, and each swaps its own socket", ON_NATIVE, async () => {
  const one = await start({ reusePort: true });
  const other = await start({ reusePort: true, port: one.first.port });
  for (let swap = 1; swap <= 4; swap++) {
    await Promise.all([one.tell("swap"), other.tell("swap")]);
    for (let client = 0; client < 16; client++) assertEquals(await ask(one.first.port!), `generation ${swap}`);
  }
  await one[Symbol.asyncDispose]();
  assertEquals(await ask(one.first.port!), "generation 4");
});

test("handoff: four workers that share a port swap at once", ON_NATIVE, async () => {
  const server = await start();
  const [port = 0] = await server.tell("work", 1, { port: 0, reusePort: true }) as number[];
  await server.tell("work", 3, { port, reusePort: true });
  const swapped = await server.tell("workersSwap", 50) as { generation: number; errors: string[] }[];
  assertEquals(swapped, Array.from({ length: 4 }, () => ({ generation: 50, errors: [] })));
  for (let client = 0; client < 32; client++) assertEquals(await ask(port), "generation 50");
  await server.tell("terminate");
  await until(async () => !await isListening(port), "the port is free");
});

/** Starts a program that its runtime reloads when it is written again. */
async function reloadable(args: readonly string[], port: number) {
  const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
  const program = join(folder, "program.ts");
  const support = new URL("../support/handoff_reload_main.ts", import.meta.url);
  const pairs = certificates.map(({ cert, key }) => ({ cert, key }));
  const write = (version: string) =>
    writeFile(
      program,
      `import { serveReloadable } from ${JSON.stringify(onBun ? fileURLToPath(support) : support)};\n` +
        `await serveReloadable(${JSON.stringify(version)}, ${JSON.stringify(pairs)});\n`,
    );
  await write("one");
  const env = { ...process.env, PORT: String(port), NO_COLOR: "1" };
  const child = spawn(process.execPath, [...args, program], { env, stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const reloaded = {
    write,
    async hears(version: string) {
      for (;;) {
        const { value, done } = await lines.next();
        if (done) throw new Error("the program has ended");
        if (value.includes(JSON.stringify({ version }))) return;
      }
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
      await rm(folder, { recursive: true });
    },
  };
  opened.add(reloaded);
  return reloaded;
}

if (onBun) {
  test("handoff: bun --hot adopts the socket of the program before, loses no connection and serves the new code", async () => {
    const port = await freePort();
    const program = await reloadable(["--hot"], port);
    await program.hears("one");
    assertEquals(await ask(port), "one");
    const kept = await HttpConnection.open(port);
    const failures: unknown[] = [];
    let isOver = false;
    const visits = Array.from({ length: 4 }, async () => {
      while (!isOver) await ask(port).catch((error) => failures.push(error));
    });
    for (const version of ["two", "three", "four"]) {
      await program.write(version);
      await program.hears(version);
      assertEquals(await ask(port), version);
    }
    isOver = true;
    await Promise.all(visits);
    assertEquals(failures, []);
    assertEquals((await kept.ask("/")).text, "one");
    kept.close();
  });

  test("handoff: bun --watch starts the program again on the same port", async () => {
    const port = await freePort();
    const program = await reloadable(["--watch"], port);
    for (const version of ["one", "two", "three"]) {
      if (version !== "one") await program.write(version);
      await program.hears(version);
      await until(() => ask(port).then((text) => text === version, () => false), "it serves");
    }
  });
}

if (onDeno) {
  test("handoff: deno --watch starts the program again on the same port", async () => {
    const port = await freePort();
    const program = await reloadable(["run", "-A", "--watch", `--import-map=${IMPORT_MAP}`], port);
    for (const version of ["one", "two", "three"]) {
      if (version !== "one") await program.write(version);
      await program.hears(version);
      await until(() => ask(port).then((text) => text === version, () => false), "it serves");
    }
  });
}

if (onDeno) {
  const run = (...permissions: string[]) => ({ runArgs: ["run", ...permissions, `--import-map=${IMPORT_MAP}`] });
  const BASIC = ["--allow-net", "--allow-env", "--allow-read"];

  test("handoff: without --allow-ffi it is UNSUPPORTED, without a prompt", async () => {
    const server = await start({}, run(...BASIC));
    assertEquals(server.first, { code: "UNSUPPORTED", reason: "no permission --allow-ffi" });
  });

  test("handoff: without --allow-net for 127.0.0.1 it is UNSUPPORTED", async () => {
    const server = await start({}, run("--allow-net=0.0.0.0", "--allow-env", "--allow-read", "--allow-ffi"));
    assertEquals(server.first.code, "UNSUPPORTED");
    assertEquals(server.first.reason, "the self-check failed: no permission --allow-net=127.0.0.1");
  });
}
