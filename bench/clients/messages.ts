// Messages over WebSockets, echoed: node bench/clients/messages.ts PORT SECONDS
// Each connection sends a batch in one write, and the next when the last of it has come back, so that the server has more
// to do than the client.
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { HttpConnection } from "../../tests/support/http.ts";

const CONNECTIONS = 16;
const BATCH = 64;
const PAYLOAD_BYTES = 64;
const WARM_UP_MS = 300;

const [port = 0, seconds = 0] = process.argv.slice(2).map(Number);
/** Text, masked with zeros; what comes back has no mask (RFC 6455 section 5.2). */
const frame = Uint8Array.of(0x81, 0x80 | PAYLOAD_BYTES, 0, 0, 0, 0, ...new Uint8Array(PAYLOAD_BYTES).fill(120));
const batch = new Uint8Array(Array.from({ length: BATCH }, () => [...frame]).flat());
const batchBytes = BATCH * (2 + PAYLOAD_BYTES);
let batches = 0;

for (let count = 0; count < CONNECTIONS; count++) {
  const connection = await HttpConnection.open(port, { servername: "localhost" });
  await connection.upgrade("/echo");
  const { socket } = connection;
  let left = batchBytes;
  socket.removeAllListeners("data").on("data", (bytes) => {
    left -= bytes.length;
    if (left > 0) return;
    if (left < 0) throw new Error(`more came back than was sent: ${-left} bytes`);
    left = batchBytes;
    batches++;
    socket.write(batch);
  });
  socket.write(batch);
}

await delay(WARM_UP_MS);
const [before, start] = [batches, performance.now()];
await delay(seconds * 1000);
const perSecond = (batches - before) * BATCH / ((performance.now() - start) / 1000);
console.log(JSON.stringify({ perSecond }));
process.exit(0);
