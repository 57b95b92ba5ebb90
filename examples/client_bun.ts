// fetch() on Bun with a certificate that rolls over. Bun reads the options at each call, and keeps connections apart by
// them:
//   bun examples/client_bun.ts client.pem client.key ca.pem https://localhost:8443/
import { readFile } from "node:fs/promises";
import process from "node:process";
import { clientOptions } from "@x/tls-reload/node";
import { reloadTls } from "@x/tls-reload/reload";

const [cert = "", key = "", caPath = "", url = ""] = process.argv.slice(2);
const { state } = await reloadTls({ cert, key });
const tls = clientOptions(state, { ca: await readFile(caPath, "utf8") });
const ask = async () => console.log(await (await fetch(url, { tls } as RequestInit)).text());
setInterval(() => ask().catch(console.warn), 1_000);
