// A server whose certificate certbot renews, on any runtime:
//   deno run -A examples/reload_certbot.ts /etc/letsencrypt/live/example.com    (or bun, or node)
// The watch is enough. A deploy hook makes it immediate: certbot renew --deploy-hook 'systemctl reload my-server'
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { loadTlsConfig, TlsState } from "@x/tls-reload";
import { Reloader } from "@x/tls-reload/reload";

const [folder = "."] = process.argv.slice(2);
const files = [join(folder, "fullchain.pem"), join(folder, "privkey.pem")] as const;
const load = () => loadTlsConfig(...files);
const state = new TlsState(await load());
const reloader = new Reloader(state, load);
reloader.watch(files);
reloader.onSignal("SIGHUP");
reloader.addEventListener("swap", ({ detail }) => console.log(`serves ${detail.config.leaf.fingerprint256}`));

const server = createServer((socket) => {
  const acceptor = state.acceptor();
  acceptor.accept(socket).then((secure) => secure.end(`generation ${acceptor.generation}\n`), console.warn);
});
server.listen(Number(process.env["PORT"] ?? 8443), () => {
  console.log(`https://localhost:${(server.address() as AddressInfo).port}/`);
});
