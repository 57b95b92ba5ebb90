import { assertEquals, assertMatch } from "@std/assert";
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Socket } from "node:net";
import process from "node:process";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { InnerServer } from "../../src/deno/inner_server.ts";

const ON_DENO = { skip: process.versions["deno"] ? false : "needs Deno" };
const THIEF = fileURLToPath(new URL("port_thief.ts", import.meta.url));
const SECRET = "GET /secret HTTP/1.1\r\nHost: localhost\r\n\r\n";

/** Ends the native server in a way that its owner is told of later only, as the end by EMFILE is. */
class EndingServe {
  readonly #serve = Deno.serve;
  readonly natives: Deno.HttpServer[] = [];

  constructor() {
    const { natives } = this;
    const serve = this.#serve as (options: object, handler: Deno.ServeHandler) => Deno.HttpServer;
    Deno.serve = ((options: object, handler: Deno.ServeHandler) => {
      const native = serve(options, handler);
      natives.push(native);
      return native;
    }) as typeof Deno.serve;
  }

  restore(): void {
    Deno.serve = this.#serve;
  }
}

/** Holds the event loop, so that the other process has the port before this one is told of the end. */
function holdEventLoop(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end;);
}

test("InnerServer sends nothing to a process that takes its port when the native server ends", ON_DENO, async () => {
  const ending = new EndingServe();
  for (let round = 0; round < 3; round++) {
    const inner = new InnerServer({ handler: () => new Response("answer") }, () => {});
    const native = ending.natives.at(-1)!;
    const thief = spawn(Deno.execPath(), ["run", "-A", "--no-check", THIEF, String(inner.port)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = once(thief, "close");
    let said = "";
    thief.stdout.on("data", (text) => said += text);
    while (!said.includes("ready")) await once(thief.stdout, "data");
    const opened: Socket[] = [];
    const connectAndSend = async () => {
      const socket = await inner.connect().catch(() => undefined);
      if (!socket) return;
      socket.on("error", () => {}).write(SECRET);
      opened.push(socket);
    };
    const attempts: Promise<void>[] = [];
    void native.shutdown();
    // Until the other process has the port, and while it listens there.
    const isThief = () => said.includes("taken");
    for (let turns = 0; turns < 20; turns += isThief() ? 1 : 0) {
      attempts.push(connectAndSend());
      holdEventLoop(5);
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    await Promise.all(attempts);
    await ended;
    assertMatch(said, /taken\nreceived 0\n/);
    for (const socket of opened) socket.destroy();
    inner.stop();
  }
  ending.restore();
});

test("InnerServer starts again when the native server ends by itself", ON_DENO, async () => {
  const ending = new EndingServe();
  const inner = new InnerServer({ handler: () => new Response("answer") }, () => {});
  await ending.natives[0]!.shutdown();
  while (inner.port === 0 || ending.natives.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  assertEquals(ending.natives.length, 2);
  const socket = await inner.connect();
  socket.destroy();
  await inner.shutdown();
  ending.restore();
});
