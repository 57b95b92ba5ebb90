// Time from the rename of a new certificate to the first handshake that serves it, on the runtime it is started with:
//   deno run -A bench/reload.ts      bun bench/reload.ts      node bench/reload.ts
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadTlsConfig, TlsState } from "../mod.ts";
import { Reloader } from "../src/reload/reloader.ts";
import { issueServer } from "../tests/support/certificates.ts";
import { echoServer, visit } from "../tests/support/peers.ts";
import { runtimeName } from "../tests/support/runtimes.ts";

const ROTATIONS = 60;

console.log(`${runtimeName()}: ${ROTATIONS} rotations each, key renamed over, then certificate`);
const versions = [await issueServer("even"), await issueServer("odd")] as const;
for (const settleMs of [10, 250]) {
  await measure(`events, ${settleMs} ms to settle`, { settleMs, pollIntervalMs: 600_000 });
}
await measure("polling every 200 ms", { settleMs: 600_000, pollIntervalMs: 200 });

async function measure(title: string, options: { settleMs: number; pollIntervalMs: number }): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
  const [cert, key] = [join(folder, "tls.crt"), join(folder, "tls.key")];
  await put(0);
  const load = () => loadTlsConfig(cert, key);
  const state = new TlsState(await load());
  const server = await echoServer(state);
  const reloader = new Reloader(state, load);
  const looked = new Promise((resolve) => reloader.addEventListener("unchanged", resolve, { once: true }));
  reloader.watch([cert, key], options);
  await looked;

  const times: number[] = [];
  for (let count = 1; count <= ROTATIONS; count++) {
    await put(count);
    const start = performance.now();
    const { fingerprint256 } = versions[count % 2]!;
    while ((await visit(server.port)).fingerprint256 !== fingerprint256);
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  const at = (part: number) => times[Math.min(ROTATIONS - 1, Math.floor(ROTATIONS * part))]!.toFixed(0).padStart(5);
  console.log(`  ${title.padEnd(26)} p50 ${at(0.5)} ms   p99 ${at(0.99)} ms`);
  await reloader.close();
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });

  async function put(count: number): Promise<void> {
    const issued = versions[count % 2]!;
    for (const [path, content] of [[key, issued.key], [cert, issued.cert]] as const) {
      await writeFile(`${path}.new`, content);
      await rename(`${path}.new`, path);
    }
  }
}
