// A client that sends any certificates, over OpenSSL: a program of Node, which reads visits from its input and prints what
// it saw, one line of JSON each.
import { Buffer } from "node:buffer";
import process from "node:process";
import { createInterface } from "node:readline";
import { connect } from "node:tls";
import type { Visit, Visited } from "./chain_client.ts";

/** A client that is neither greeted nor refused within this time is stalled. */
const PATIENCE_MS = 10_000;

function visit({ port, cert, key, version, session }: Visit): Promise<Visited> {
  return new Promise((resolve) => {
    const socket = connect({
      host: "127.0.0.1",
      port,
      cert,
      key,
      minVersion: version,
      maxVersion: version,
      ALPNProtocols: ["http/1.1"],
      // Sends SHA-1 and short keys as well.
      ciphers: "DEFAULT@SECLEVEL=0",
      rejectUnauthorized: false,
      ...(session && { session: Buffer.from(session, "base64") }),
    });
    let text = "";
    let latest: string | undefined;
    let isStalled = false;
    const finish = () => {
      const isGreeted = /generation \d+|200 OK/.test(text);
      resolve({ isGreeted, isResumed: isGreeted && socket.isSessionReused(), isStalled, session: latest });
      socket.destroy();
    };
    socket.setTimeout(PATIENCE_MS, () => {
      isStalled = true;
      finish();
    });
    socket.on("session", (session) => latest = session.toString("base64"));
    socket.on("error", finish).once("close", finish).once("end", finish);
    // Node emits a session of TLS 1.3 after the data that arrived behind it.
    socket.on("data", (chunk) => /generation \d+|200 OK/.test(text += chunk) && setTimeout(finish, latest ? 0 : 5));
    socket.write("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n");
  });
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await visit(JSON.parse(line)))}\n`);
}
