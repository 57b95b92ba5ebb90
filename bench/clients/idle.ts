// Connections that have been answered once and stay: node bench/clients/idle.ts PORT COUNT
// It prints how many are open, and holds them until its standard input ends.
import process from "node:process";
import { connect, createSecureContext, type TLSSocket } from "node:tls";

const AT_ONCE = 32;
const REQUEST = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

const [port = 0, count = 0] = process.argv.slice(2).map(Number);
const secureContext = createSecureContext();
const sockets: TLSSocket[] = [];
let begun = 0;

/** Resolves also when it fails: what is open at the end is counted. */
function open(): Promise<void> {
  return new Promise((resolve) => {
    const options = { host: "127.0.0.1", port, servername: "localhost", rejectUnauthorized: false, secureContext };
    const socket = connect(options, () => socket.write(REQUEST));
    socket.on("error", () => {}).once("data", () => resolve()).once("close", () => resolve());
    sockets.push(socket);
  });
}

async function openMany(): Promise<void> {
  while (begun++ < count) await open();
}

await Promise.all(Array.from({ length: AT_ONCE }, openMany));
console.log(sockets.filter(({ readyState }) => readyState === "open").length);
process.stdin.resume().once("end", () => process.exit(0));
