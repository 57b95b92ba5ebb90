// A server whose certificate certbot renews, here by a stand-in that turns the links of live/ as certbot does:
//   deno run -A examples/reload_certbot.ts    bun examples/reload_certbot.ts    node examples/reload_certbot.ts
// In earnest: watch /etc/letsencrypt/live/NAME/, or let a deploy hook say: certbot renew --deploy-hook 'kill -HUP PID'
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadTlsConfig, TlsState } from "../mod.ts";
import { Reloader } from "../src/reload.ts";
import { issueServer } from "../tests/support/certificates.ts";
import { portOf, visit } from "../tests/support/peers.ts";

const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
await mkdir(join(folder, "live"));
await mkdir(join(folder, "archive"));
await renew(1);

const files = [join(folder, "live/fullchain.pem"), join(folder, "live/privkey.pem")] as const;
const load = () => loadTlsConfig(...files);
const state = new TlsState(await load());
const reloader = new Reloader(state, load);
reloader.watch(files);
reloader.onSignal("SIGHUP");

const server = createServer((socket) => {
  const acceptor = state.acceptor();
  acceptor.accept(socket).then((secure) => secure.end(`generation ${acceptor.generation}\n`), console.warn);
}).listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));

console.log((await visit(portOf(server))).greeting);
const swapped = new Promise((resolve) => reloader.addEventListener("swap", resolve));
await renew(2);
await swapped;
console.log((await visit(portOf(server))).greeting);
console.log(reloader.metrics());

await reloader.close();
server.close();
await rm(folder, { recursive: true });

/** Files of their own for each renewal, and links that are turned to them. */
async function renew(revision: number): Promise<void> {
  const { cert, key } = await issueServer(`renewal ${revision}`);
  for (const [name, content] of [["privkey", key], ["fullchain", cert]] as const) {
    await writeFile(join(folder, `archive/${name}${revision}.pem`), content, { mode: 0o600 });
    await symlink(`../archive/${name}${revision}.pem`, join(folder, `live/${name}.new`));
    await rename(join(folder, `live/${name}.new`), join(folder, `live/${name}.pem`));
  }
}
