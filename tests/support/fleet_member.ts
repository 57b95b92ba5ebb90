// A server of a fleet, on any runtime: STORE PORT SPLAY_MS. It follows the store, prints a line of JSON at each event, and
// ends with its standard input.
import { createServer } from "node:http";
import process from "node:process";
import { statusHandler } from "../../src/status.ts";
import { echoServer, portOf } from "./peers.ts";
import { STORES } from "./stores.ts";

/** What a member prints: its ports first, then the certificate of each swap and the code of each rejection. */
export interface MemberLine {
  readonly ports?: { readonly tls: number; readonly status: number };
  readonly swapped?: string;
  readonly rejected?: string;
}

const say = (line: MemberLine) => console.log(JSON.stringify(line));
const [name = "", port = "", splayMs = ""] = process.argv.slice(2);
const { state, reloader } = await STORES[name as keyof typeof STORES].follow(Number(port), {
  splayMs: Number(splayMs),
});
reloader.addEventListener("swap", ({ detail }) => say({ swapped: detail.config.leaf.fingerprint256 }));
reloader.addEventListener("reject", (event) => {
  event.preventDefault();
  say({ rejected: (event.detail.error as { code?: string }).code ?? String(event.detail.error) });
});

const handle = statusHandler(reloader);
const status = createServer(async ({ url = "/", headers: { accept = "" } }, response) => {
  const answer = handle(new Request(new URL(url, "http://localhost"), { headers: { accept } }));
  response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text());
});
await new Promise<void>((resolve) => status.listen(0, "127.0.0.1", resolve));
const server = await echoServer(state);
say({ ports: { tls: server.port, status: portOf(status) } });
process.stdin.on("end", () => process.exit()).resume();
