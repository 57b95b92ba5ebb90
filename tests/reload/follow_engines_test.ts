import { assert } from "@std/assert";
import test from "node:test";
import { type Issued, issueServer } from "../support/certificates.ts";
import { Engine, missing } from "../support/engines.ts";
import { echoServer, visit } from "../support/peers.ts";
import { STORES } from "../support/stores.ts";
import { nextEvent } from "./rotating_files.ts";

const CHANGES = 20;
const RESTARTS = 3;
const PAUSE_MS = 2_000;
/** The longest wait for a change that came while the engine was gone: reconnect pauses, and the poll. */
const MISSED_MS = 35_000;
const issued = await Promise.all(["first", "second", "third"].map((name) => issueServer(name))) as [
  Issued,
  Issued,
  Issued,
];

const initOf = ({ cert, key }: Issued) => ({ cert, key });

/** Tries again until it succeeds: an engine accepts connections before it is ready. */
async function until(attempt: () => Promise<boolean>): Promise<void> {
  while (!await attempt()) await new Promise((resolve) => setTimeout(resolve, 20));
}

for (const [name, store] of Object.entries(STORES)) {
  test(`Reloader.follow() serves what ${name} holds, also after it was killed and stopped`, {
    skip: missing(store.command),
  }, async (t) => {
    const engine = await Engine.start(store.command, store.args);
    t.after(() => engine[Symbol.asyncDispose]());
    await until(() => store.put(engine.port, initOf(issued[0])).then(() => true, () => false));
    const { state, reloader } = await store.follow(engine.port);
    t.after(() => reloader.close());
    const errors: string[] = [];
    reloader.addEventListener("reject", (event) => {
      event.preventDefault();
      errors.push((event.detail.error as { code?: string }).code ?? "");
    });
    await nextEvent(reloader, "unchanged");
    const server = await echoServer(state);
    t.after(() => server[Symbol.asyncDispose]());
    let count = 0;
    const change = async () => {
      const next = issued[++count % 3]!;
      await until(() => store.put(engine.port, initOf(next)).then(() => true, () => false));
      const began = performance.now();
      while ((await visit(server.port)).fingerprint256 !== next.fingerprint256) {
        assert(performance.now() - began < MISSED_MS, "the change was missed");
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      return performance.now() - began;
    };

    const times: number[] = [];
    for (let changes = 0; changes < CHANGES; changes++) times.push(await change());
    times.sort((a, b) => a - b);
    t.diagnostic?.(`${name}: median ${times[CHANGES / 2]!.toFixed(0)} ms, longest ${times.at(-1)!.toFixed(0)} ms`);
    assert(times[CHANGES / 2]! < 250, `${times}`);

    for (let restarts = 0; restarts < RESTARTS; restarts++) {
      const disconnected = nextEvent(reloader, "disconnect");
      await engine.kill();
      await disconnected;
      await engine.resurrect();
      await change();
    }
    engine.pause();
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    engine.resume();
    await change();

    const { reconnects, items } = reloader.status().streams[0]!;
    assert(reconnects >= RESTARTS && reconnects <= 4 * RESTARTS, `${reconnects} reconnects`);
    assert(items > 0);
    // Never a torn pair.
    assert(!errors.includes("KEY_MISMATCH"), `${errors}`);
  });
}
