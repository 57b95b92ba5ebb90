import { assertEquals } from "@std/assert";
import { Client, credentials } from "@grpc/grpc-js";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { type EventEmitter, once } from "node:events";
import { connect } from "node:http2";
import { dial } from "./peers.ts";
import type { WireClient } from "./wire_client.ts";

type Stream = EventEmitter & { write(message: Buffer): unknown };

/** Opens one stream of HTTP/2, which the server echoes. */
export const connectHttp2: WireClient = async ({ port, onHandshake }) => {
  onHandshake();
  const socket = await dial(port, { ALPNProtocols: ["h2"] });
  const session = connect(`https://localhost:${port}`, { createConnection: () => socket });
  const stream = session.on("error", () => {}).request({ ":method": "POST", ":path": "/" });
  return {
    fingerprint256: socket.getPeerCertificate().fingerprint256,
    exchange: () => echo(stream),
    close: () => session.destroy(),
  };
};

/** Opens one call of gRPC, which the server echoes. */
export const connectGrpc: WireClient = async ({ port, ca, onHandshake }) => {
  let fingerprint256 = "";
  const tls = credentials.createSsl(Buffer.from(ca), null, null, {
    checkServerIdentity: (_host, certificate) => {
      fingerprint256 = certificate.fingerprint256;
      return undefined;
    },
  });
  onHandshake();
  // By default, clients of one process share connections.
  const client = new Client(`localhost:${port}`, tls, { "grpc.use_local_subchannel_pool": 1 });
  const asIs = (message: Buffer) => message;
  const call = client.makeBidiStreamRequest("/example.Echo/Echo", asIs, asIs);
  call.on("error", () => {}); // close() ends it with one
  await echo(call);
  return { fingerprint256, exchange: () => echo(call), close: () => client.close() };
};

async function echo(stream: Stream): Promise<void> {
  const message = randomBytes(16);
  stream.write(message);
  assertEquals(await next(stream), message.toString("hex"));
}

/** The next message. */
async function next(stream: Stream): Promise<string> {
  const abort = new AbortController();
  const { signal } = abort;
  try {
    return await Promise.race([
      once(stream, "data", { signal }).then(([message]) => message.toString("hex")),
      once(stream, "close", { signal }).then(() => Promise.reject(new Error("the stream was closed"))),
    ]);
  } finally {
    abort.abort();
  }
}
