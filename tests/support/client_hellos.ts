import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { parseClientHello } from "../../src/accept/client_hello.ts";
import { clientHello, portOf } from "./peers.ts";
import { builtGoClient, installedBun } from "./tls_clients.ts";

/** A program that makes one TLS connection to a port of this machine. */
export type Client = (port: number) => readonly [command: string, ...args: string[]];

/** `openssl s_client` with options, and the name to send if the options hold none. */
export function opensslClient(...options: string[]): Client {
  const name = options.some((option) => /^-(?:no)?servername$/.test(option)) ? [] : ["-servername", "openssl.test"];
  return (port) => ["openssl", "s_client", "-connect", `127.0.0.1:${port}`, ...name, ...options];
}

/** `curl` with options. */
export function curlClient(...options: string[]): Client {
  const to = (port: number) => ["--connect-to", `::127.0.0.1:${port}`, `https://curl.test:${port}/`];
  return (port) => ["curl", "--silent", "--max-time", "10", ...options, ...to(port)];
}

/** The first bytes that a program sends: its ClientHello. Nothing is answered, and the connection is closed. */
export async function captureHello(client: Client): Promise<Buffer> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const [command, ...args] = client(portOf(server));
  const child = spawn(command, args, { stdio: ["pipe", "ignore", "ignore"] });
  child.stdin.on("error", () => {});
  const closed = once(child, "close");
  const [socket] = await once(server, "connection");
  let bytes = Buffer.alloc(0);
  for await (const chunk of socket.on("error", () => {})) {
    bytes = Buffer.concat([bytes, chunk]);
    if (parseClientHello(bytes)) break;
  }
  socket.destroy();
  child.stdin.end();
  await closed;
  server.close();
  return bytes;
}

/** Hellos of OpenSSL, curl and the runtime of the test itself, and of Go and Bun where they are installed. */
export async function capturedHellos(): Promise<Buffer[]> {
  const [go, bun] = [await builtGoClient(), installedBun()];
  const programs = [
    opensslClient(),
    opensslClient("-noservername"),
    opensslClient("-tls1_2", "-alpn", "h2,http/1.1"),
    opensslClient("-tls1_3", "-alpn", "acme-tls/1", "-sigalgs", "RSA-PSS+SHA256"),
    curlClient(),
    curlClient("--tls-max", "1.2"),
    ...(go ? [goHello(go, ""), goHello(go, "TLSv1.2")] : []),
    ...(bun ? [bunHello(bun)] : []),
  ];
  return [
    ...await Promise.all(programs.map(captureHello)),
    await clientHello({ servername: "runtime.test" }),
    await clientHello({ servername: "runtime.test", ALPNProtocols: ["h2"], maxVersion: "TLSv1.2" }),
  ];
}

function goHello(program: string, version: string): Client {
  return (port) => [program, `127.0.0.1:${port}`, "go.test", version, ""];
}

function bunHello(program: string): Client {
  return (port) => [program, "-e", `await fetch("https://127.0.0.1:${port}", { tls: { serverName: "bun.test" } })`];
}

/** Puts the message of a hello into records of another size. */
export function inRecords(hello: Uint8Array, payloadBytes: number): Buffer {
  const message = Buffer.from(hello.subarray(5, 5 + Buffer.from(hello).readUInt16BE(3)));
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += payloadBytes) {
    const payload = message.subarray(at, at + payloadBytes);
    records.push(Buffer.from([0x16, 0x03, 0x01, payload.length >> 8, payload.length & 0xff]), payload);
  }
  return Buffer.concat(records);
}

/** A vector (RFC 8446 section 3.4), with the length before it. */
export const vector = (lengthBytes: number, ...parts: Uint8Array[]) => {
  const content = Buffer.concat(parts);
  const length = Buffer.alloc(lengthBytes);
  length.writeUIntBE(content.length, 0, lengthBytes);
  return Buffer.concat([length, content]);
};

/** An extension (RFC 8446 section 4.2). */
export function extension(type: number, content: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([type >> 8, type & 0xff]), vector(2, content)]);
}

/** A host name (RFC 6066 section 3), or a name of another kind. */
export type SentName = string | readonly [kind: number, name: string];

/** The content of the extension `server_name` with these names. */
export function serverNames(...names: SentName[]): Buffer {
  const entries = names.map((name) => {
    const [kind, text] = typeof name === "string" ? [0, name] as const : name;
    return Buffer.concat([Buffer.of(kind), vector(2, Buffer.from(text, "latin1"))]);
  });
  return vector(2, ...entries);
}

/** A hello in one record, made by hand of some extensions, or of none at all. */
export function madeHello(extensions: readonly Uint8Array[] | undefined, { legacyVersion = 0x0303, after = "" } = {}) {
  const body = Buffer.concat([
    Buffer.from([legacyVersion >> 8, legacyVersion & 0xff]),
    Buffer.alloc(32),
    vector(1),
    vector(2, Buffer.from([0xc0, 0x2b, 0xc0, 0x2f])),
    vector(1, Buffer.of(0)),
    ...(extensions ? [vector(2, ...extensions)] : []),
    Buffer.from(after),
  ]);
  return Buffer.concat([Buffer.from([0x16, 0x03, 0x01]), vector(2, Buffer.of(1), vector(3, body))]);
}
