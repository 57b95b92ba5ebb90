// The server of the demo: HTTPS over the acceptor, on any runtime. It echoes what it is sent, and swaps between the two
// certificates of a folder whenever a line arrives on its standard input. Run it with: deno task demo
import { createServer } from "node:http";
import { createServer as createListener } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { loadTlsConfig, TlsState } from "../mod.ts";

const [folder = "."] = process.argv.slice(2);
const load = (name: string) => loadTlsConfig(join(folder, `${name}.crt`), join(folder, `${name}.key`));
const configs = [await load("first"), await load("second")] as const;
const state = new TlsState(configs[0]);

const http = createServer((request, response) => {
  request.pipe(response.setHeader("content-type", "application/octet-stream"));
});
// Deno closes a connection after its first response if the server that it was given to does not listen.
Object.defineProperty(http, "listening", { value: true });

const listener = createListener({ noDelay: true }, (socket) => {
  state.acceptor().accept(socket).then(
    (secure) => http.emit("connection", secure),
    (error) => console.error(error.code, error.message),
  );
});
listener.listen(0, "127.0.0.1", () => console.log(JSON.stringify(listener.address())));

for await (const _line of createInterface({ input: process.stdin })) {
  state.swap(configs[(state.generation + 1) % 2]!);
  console.log(state.generation);
}
process.exit(0);
