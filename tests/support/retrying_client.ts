import { Buffer } from "node:buffer";
import { createCipheriv, createDecipheriv, createECDH, createHash, createHmac, randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { extension, serverNames, vector } from "./client_hellos.ts";
import { dialTcp } from "./peers.ts";

/** What one of the two hellos asks for. */
export interface Asked {
  readonly name?: string;
  readonly alpn?: string;
}

const RECORD = { changeCipherSpec: 20, alert: 21, handshake: 22, application: 23 };
const MESSAGE = { clientHello: 1, finished: 20, hash: 254 };
const HASH_BYTES = 32;
const P256 = 23;
const uint16 = (value: number) => Buffer.of(value >> 8, value & 0xff);
const message = (type: number, content: Uint8Array) => Buffer.concat([Buffer.of(type), vector(3, content)]);
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest();
const hmac = (key: Uint8Array, bytes: Uint8Array) => createHmac("sha256", key).update(bytes).digest();
const EMPTY = Buffer.alloc(0);
const ZERO = Buffer.alloc(HASH_BYTES);

/**
 * A client of TLS 1.3 that sends no key share, so that the server asks for a second ClientHello, which asks for
 * something else. No TLS library does so (RFC 8446 section 4.1.2).
 *
 * @returns The first bytes that the server sends to the application of the client.
 * @throws {Error} If the server refuses the client.
 */
export async function visitAskingTwice(port: number, first: Asked, second: Asked): Promise<string> {
  const wire = new Wire(await dialTcp(port));
  try {
    const ecdh = createECDH("prime256v1");
    const identity = [randomBytes(32), randomBytes(32)] as const;
    const one = helloOf(first, EMPTY, identity);
    const two = helloOf(second, Buffer.concat([uint16(P256), vector(2, ecdh.generateKeys())]), identity);
    wire.send(RECORD.handshake, one);
    const retry = await wire.read();
    wire.send(RECORD.handshake, two);
    const answer = await wire.read();
    const transcript = [message(MESSAGE.hash, sha256(one)), retry.content, two, answer.content];

    const early = hmac(ZERO, ZERO);
    const handshake = hmac(derive(early, "derived", EMPTY), ecdh.computeSecret(keyShareOf(answer.content)));
    const [clientSecret, serverSecret] = ["c hs traffic", "s hs traffic"].map((label) =>
      derive(handshake, label, Buffer.concat(transcript))
    ) as [Buffer, Buffer];
    wire.open = new Keys(serverSecret);
    transcript.push(await wire.readFlight());

    const verifyData = hmac(expand(clientSecret, "finished", EMPTY, HASH_BYTES), sha256(Buffer.concat(transcript)));
    const main = hmac(derive(handshake, "derived", EMPTY), ZERO);
    wire.seal = new Keys(clientSecret);
    wire.send(RECORD.handshake, message(MESSAGE.finished, verifyData));
    wire.open = new Keys(derive(main, "s ap traffic", Buffer.concat(transcript)));
    for (;;) {
      const { type, content } = await wire.read();
      if (type === RECORD.application) return content.toString();
    }
  } finally {
    wire.close();
  }
}

/** Both hellos of a client have the same random and session. */
function helloOf({ name, alpn }: Asked, share: Buffer, [random, session]: readonly [Buffer, Buffer]): Buffer {
  const extensions = [
    ...(name === undefined ? [] : [extension(0, serverNames(name))]),
    ...(alpn === undefined ? [] : [extension(16, vector(2, vector(1, Buffer.from(alpn))))]),
    extension(10, vector(2, uint16(P256))),
    extension(13, vector(2, uint16(0x0403), uint16(0x0804))),
    extension(43, vector(1, uint16(0x0304))),
    extension(51, vector(2, share)),
  ];
  const body = Buffer.concat([
    uint16(0x0303),
    random,
    vector(1, session),
    vector(2, uint16(0x1301)), // TLS_AES_128_GCM_SHA256
    vector(1, Buffer.of(0)),
    vector(2, ...extensions),
  ]);
  return message(MESSAGE.clientHello, body);
}

/** The key share of a ServerHello. */
function keyShareOf(hello: Buffer): Buffer {
  const session = 4 + 2 + 32;
  for (let at = session + 1 + hello[session]! + 2 + 1 + 2; at < hello.length;) {
    const [type, length] = [hello.readUInt16BE(at), hello.readUInt16BE(at + 2)];
    if (type === 51) return hello.subarray(at + 8, at + 4 + length);
    at += 4 + length;
  }
  throw new Error("the server sends no key share");
}

/** HKDF-Expand-Label (RFC 8446 section 7.1). */
function expand(secret: Uint8Array, label: string, context: Uint8Array, length: number): Buffer {
  const info = Buffer.concat([uint16(length), vector(1, Buffer.from(`tls13 ${label}`)), vector(1, context)]);
  return hmac(secret, Buffer.concat([info, Buffer.of(1)])).subarray(0, length);
}

/** Derive-Secret (RFC 8446 section 7.1). */
function derive(secret: Uint8Array, label: string, messages: Uint8Array): Buffer {
  return expand(secret, label, sha256(messages), HASH_BYTES);
}

/** The key of one direction (RFC 8446 section 7.3), which counts its records. */
class Keys {
  readonly key: Buffer;
  readonly #iv: Buffer;
  #records = 0;

  constructor(secret: Buffer) {
    this.key = expand(secret, "key", EMPTY, 16);
    this.#iv = expand(secret, "iv", EMPTY, 12);
  }

  nextNonce(): Buffer {
    const nonce = Buffer.from(this.#iv);
    nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ this.#records++) >>> 0, 8);
    return nonce;
  }
}

/** The records of a connection. */
class Wire {
  open: Keys | undefined;
  seal: Keys | undefined;
  readonly #socket: Socket;
  readonly #chunks: AsyncIterator<Buffer>;
  #bytes = EMPTY;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#chunks = socket[Symbol.asyncIterator]();
  }

  send(type: number, content: Uint8Array): void {
    if (!this.seal) {
      this.#socket.write(Buffer.concat([Buffer.of(type, 3, 3), vector(2, content)]));
      return;
    }
    const header = Buffer.concat([Buffer.of(RECORD.application, 3, 3), uint16(content.length + 1 + 16)]);
    const cipher = createCipheriv("aes-128-gcm", this.seal.key, this.seal.nextNonce()).setAAD(header);
    const sealed = [cipher.update(Buffer.concat([content, Buffer.of(type)])), cipher.final(), cipher.getAuthTag()];
    this.#socket.write(Buffer.concat([header, ...sealed]));
  }

  /** Reads the next record that is not a change of the cipher. */
  async read(): Promise<{ readonly type: number; readonly content: Buffer }> {
    const header = await this.#take(5);
    const body = await this.#take(header.readUInt16BE(3));
    if (header[0] === RECORD.changeCipherSpec) return await this.read();
    const isSealed = this.open && header[0] === RECORD.application;
    const { type, content } = isSealed ? this.#decrypt(header, body) : { type: header[0]!, content: body };
    if (type === RECORD.alert) throw new Error(`alert ${content[1]}`);
    return { type, content };
  }

  /** Reads the handshake messages of the server, up to its Finished. */
  async readFlight(): Promise<Buffer> {
    let flight = EMPTY;
    for (let at = 0;;) {
      flight = Buffer.concat([flight, (await this.read()).content]);
      while (flight.length >= at + 4 && flight.length >= at + 4 + flight.readUIntBE(at + 1, 3)) {
        if (flight[at] === MESSAGE.finished) return flight;
        at += 4 + flight.readUIntBE(at + 1, 3);
      }
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #decrypt(header: Buffer, body: Buffer): { readonly type: number; readonly content: Buffer } {
    const decipher = createDecipheriv("aes-128-gcm", this.open!.key, this.open!.nextNonce()).setAAD(header);
    decipher.setAuthTag(body.subarray(-16));
    const inner = Buffer.concat([decipher.update(body.subarray(0, -16)), decipher.final()]);
    return { type: inner.at(-1)!, content: inner.subarray(0, -1) };
  }

  async #take(count: number): Promise<Buffer> {
    while (this.#bytes.length < count) {
      const { value, done } = await this.#chunks.next();
      if (done) throw new Error("the server closed the connection");
      this.#bytes = Buffer.concat([this.#bytes, value]);
    }
    const taken = this.#bytes.subarray(0, count);
    this.#bytes = this.#bytes.subarray(count);
    return taken;
  }
}
