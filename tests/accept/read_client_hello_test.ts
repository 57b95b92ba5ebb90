import { assert, assertEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { type Duplex, duplexPair } from "node:stream";
import test from "node:test";
import { connect, createServer as createTlsServer, type TLSSocket } from "node:tls";
import type { ClientHello } from "../../src/accept/client_hello.ts";
import { readClientHello } from "../../src/accept/read_client_hello.ts";
import { TlsReloadError } from "../../mod.ts";
import { issueServer } from "../support/certificates.ts";
import { captureHello, inRecords, opensslClient } from "../support/client_hellos.ts";
import { tcpPair } from "../support/tcp.ts";

const { cert, key, fingerprint256 } = await issueServer("hello");
const hello = await captureHello(opensslClient("-servername", "captured.test"));

const PAIRS: readonly [kind: string, make: () => Promise<readonly Duplex[]>][] = [
  ["a TCP socket", () => tcpPair()],
  ["a Duplex", () => Promise.resolve(duplexPair())],
];

function read(socket: Duplex): Promise<ClientHello> {
  return new Promise((succeed, fail) => readClientHello(socket, { succeed, fail }));
}

/** Passes bytes on in pieces, each in a turn of its own, so that each arrives alone. */
async function inPieces(from: Duplex, to: Duplex, pieceBytes: number): Promise<void> {
  for await (const chunk of from) {
    for (let at = 0; at < chunk.length; at += pieceBytes) {
      to.write(chunk.subarray(at, at + pieceBytes));
      await new Promise(setImmediate);
    }
  }
}

for (const [kind, pair] of PAIRS) {
  for (const pieceBytes of [1, 300, Infinity]) {
    test(`readClientHello() puts the bytes back for the TLS server: ${kind}, pieces of ${pieceBytes} bytes`, async () => {
      const [near, far] = await pair() as [Duplex, Duplex];
      const [inner, outer] = duplexPair();
      const client = connect({ socket: inner, servername: "pieces.test", rejectUnauthorized: false });
      const handshake = once(client, "secureConnect");
      inPieces(outer, far, pieceBytes).catch(() => {});
      far.pipe(outer);

      assertEquals((await read(near)).serverName, "pieces.test");
      const server = createTlsServer({ cert, key });
      const accepted = once(server, "secureConnection");
      server.emit("connection", near);
      const [secure] = await accepted as [TLSSocket];
      await handshake;
      assertEquals(client.getPeerCertificate().fingerprint256, fingerprint256);
      secure.write("from the server");
      assertEquals(String((await once(client, "data"))[0]), "from the server");
      client.write("from the client");
      assertEquals(String((await once(secure, "data"))[0]), "from the client");
      for (const socket of [client, secure, near, far, inner, outer]) socket.destroy();
    });
  }

  test(`readClientHello() leaves no listener behind: ${kind}`, async () => {
    const [near, far] = await pair() as [Duplex, Duplex];
    const names = ["readable", "error", "end", "close", "data"];
    const counts = () => names.map((name) => near.listenerCount(name));
    const before = counts();
    far.write(Buffer.concat([hello, Buffer.from("and what follows")]));
    await read(near);
    assertEquals(counts(), before);
    assertEquals(near.read(), Buffer.concat([hello, Buffer.from("and what follows")]));
    for (const socket of [near, far]) socket.destroy();
  });

  test(`readClientHello() refuses bytes that are not TLS at the first byte, and keeps the connection open: ${kind}`, async () => {
    const [near, far] = await pair() as [Duplex, Duplex];
    far.write("G");
    const error = await assertRejects(() => read(near), TlsReloadError, "the bytes are not TLS");
    assertEquals(error.code, "HANDSHAKE_FAILED");
    assert(!near.destroyed);
    assertEquals(String(near.read()), "G");
    for (const socket of [near, far]) socket.destroy();
  });

  test(`readClientHello() fails when the peer closes in the middle of a hello: ${kind}`, async () => {
    const [near, far] = await pair() as [Duplex, Duplex];
    far.end(hello.subarray(0, -1));
    const error = await assertRejects(() => read(near), TlsReloadError, "closed the connection");
    assertEquals(error.code, "HANDSHAKE_FAILED");
    for (const socket of [near, far]) socket.destroy();
  });

  test(`readClientHello() loses nothing of a connection that was paused, or whose bytes were put back: ${kind}`, async () => {
    const [near, far] = await pair() as [Duplex, Duplex];
    near.pause().unshift(hello.subarray(0, 100));
    far.write(Buffer.concat([hello.subarray(100), Buffer.from("and what follows")]));
    assertEquals((await read(near)).serverName, "captured.test");
    assertEquals(near.read(), Buffer.concat([hello, Buffer.from("and what follows")]));
    for (const socket of [near, far]) socket.destroy();
  });
}

test("readClientHello() reads a hello in records of one byte", async () => {
  const [near, far] = duplexPair();
  const bytes = inRecords(hello, 1);
  far.write(bytes);
  assertEquals((await read(near)).serverName, "captured.test");
  assertEquals(near.read(), bytes);
  for (const socket of [near, far]) socket.destroy();
});
