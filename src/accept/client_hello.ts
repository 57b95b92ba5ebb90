import { Buffer } from "node:buffer";

/** The first message of a client in a handshake (RFC 8446 section 4.1.2). */
export interface ClientHello {
  /**
   * The name that the client asks for (RFC 6066 section 3), in lower case and without a trailing dot; `undefined` if
   * the client does not send a name. The client can claim any name, with any characters.
   */
  readonly serverName: string | undefined;
  /** The protocols that the client offers by ALPN (RFC 7301), the preferred one first. */
  readonly alpnProtocols: readonly string[];
  /** The versions of TLS that the client offers, in the form of `getProtocol()`. */
  readonly versions: readonly string[];
  /** The signature algorithms that the client can verify, as numbers of the IANA registry `TLS SignatureScheme`. */
  readonly signatureAlgorithms: readonly number[];
  /** The cipher suites that the client offers, as numbers of the IANA registry `TLS Cipher Suites`. */
  readonly cipherSuites: readonly number[];
  /** The groups that the client offers, as numbers of the IANA registry `TLS Supported Groups`. */
  readonly supportedGroups: readonly number[];
}

/** The maximum size of a ClientHello, with the headers of the records that carry it. */
export const MAX_HELLO_BYTES = 16_384;

/** RFC 8446 section 5.1. */
const HANDSHAKE_RECORD = 0x16;
const MAJOR_VERSION = 0x03;
const RECORD_HEADER_BYTES = 5;
const MAX_RECORD_BYTES = 2 ** 14;
/** RFC 8446 section 4. */
const CLIENT_HELLO = 1;
const MESSAGE_HEADER_BYTES = 4;
/** RFC 6066 section 3. */
const HOST_NAME = 0;
const MAX_NAME_BYTES = 255;
const Extension = { serverName: 0, supportedGroups: 10, signatureAlgorithms: 13, alpn: 16, supportedVersions: 43 };
const READ = new Set(Object.values(Extension));
/** The newest first. Others are ignored, such as the reserved ones of RFC 8701. */
const VERSIONS = [[0x0304, "TLSv1.3"], [0x0303, "TLSv1.2"], [0x0302, "TLSv1.1"], [0x0301, "TLSv1"]] as const;
const TLS_1_2 = 0x0303;

/**
 * Reads the ClientHello that a connection begins with. Bytes after it are ignored.
 *
 * The result only helps to choose a certificate. The runtime reads the same bytes again and decides about the
 * handshake.
 *
 * @param bytes All bytes that have arrived.
 * @returns The hello; `undefined` as long as it is incomplete.
 * @throws {RangeError} If the bytes are not TLS, or the hello is malformed or larger than {@linkcode MAX_HELLO_BYTES}.
 */
export function parseClientHello(bytes: Uint8Array): ClientHello | undefined {
  const body = bodyInOneRecord(bytes) ?? bodyInRecords(bytes);
  if (body) return readHello(body);
  if (bytes.length >= MAX_HELLO_BYTES) throw new RangeError("the ClientHello is too large");
  return undefined;
}

/** Finds a ClientHello that has arrived in one record, as nearly all do, so that its bytes need not be copied. */
function bodyInOneRecord(bytes: Uint8Array): Reader | undefined {
  const start = RECORD_HEADER_BYTES + MESSAGE_HEADER_BYTES;
  if (bytes.length < start) return undefined;
  if (bytes[0] !== HANDSHAKE_RECORD || bytes[1] !== MAJOR_VERSION || bytes[5] !== CLIENT_HELLO) return undefined;
  const end = start + bytes[6]! * 65_536 + bytes[7]! * 256 + bytes[8]!;
  const recordLength = recordLengthAt(bytes, 0);
  const isWhole = end <= bytes.length && end <= RECORD_HEADER_BYTES + recordLength && recordLength <= MAX_RECORD_BYTES;
  return isWhole ? new Reader(bytes, start, end) : undefined;
}

/** Copies a ClientHello from its records. Returns `undefined` as long as it is incomplete. */
function bodyInRecords(bytes: Uint8Array): Reader | undefined {
  const header = new Uint8Array(MESSAGE_HEADER_BYTES);
  const received = copyMessage(bytes, header);
  if (received > 0 && header[0] !== CLIENT_HELLO) throw new RangeError("the first message is not a ClientHello");
  if (received < MESSAGE_HEADER_BYTES) return undefined;
  const message = new Uint8Array(MESSAGE_HEADER_BYTES + new Reader(header, 1, MESSAGE_HEADER_BYTES).number(3));
  if (message.length > MAX_HELLO_BYTES) throw new RangeError("the ClientHello is too large");
  if (copyMessage(bytes, message) < message.length) return undefined;
  return new Reader(message, MESSAGE_HEADER_BYTES, message.length);
}

/** Copies the first message from its records to the target, until the target is full. Returns the number of bytes. */
function copyMessage(bytes: Uint8Array, target: Uint8Array): number {
  let copied = 0;
  for (let at = 0; at < bytes.length && copied < target.length;) {
    const isTls = bytes[at] === HANDSHAKE_RECORD && (bytes[at + 1] ?? MAJOR_VERSION) === MAJOR_VERSION;
    if (!isTls) throw new RangeError("the bytes are not TLS");
    const start = at + RECORD_HEADER_BYTES;
    if (start > bytes.length) break;
    const length = recordLengthAt(bytes, at);
    if (length > MAX_RECORD_BYTES) throw new RangeError("a record is larger than TLS allows");
    at = start + length;
    // Faster than subarray() and set(), because a hello may come in thousands of records.
    const end = Math.min(at, bytes.length);
    for (let next = start; next < end && copied < target.length; next++) target[copied++] = bytes[next]!;
  }
  return copied;
}

function recordLengthAt(bytes: Uint8Array, at: number): number {
  return bytes[at + 3]! * 256 + bytes[at + 4]!;
}

function readHello(body: Reader): ClientHello {
  const legacyVersion = body.number(2);
  body.skip(32); // random
  body.skip(body.number(1)); // legacy_session_id
  const cipherSuites = body.numbers(2);
  body.skip(body.number(1)); // legacy_compression_methods
  const extensions = body.isAtEnd ? new Map<number, Reader>() : readExtensions(body.only(2));
  const numbersOf = (type: number, lengthBytes: number) => extensions.get(type)?.onlyNumbers(lengthBytes);
  return {
    serverName: readServerName(extensions.get(Extension.serverName)),
    alpnProtocols: readProtocols(extensions.get(Extension.alpn)),
    versions: readVersions(numbersOf(Extension.supportedVersions, 1), legacyVersion),
    signatureAlgorithms: numbersOf(Extension.signatureAlgorithms, 2) ?? [],
    cipherSuites,
    supportedGroups: numbersOf(Extension.supportedGroups, 2) ?? [],
  };
}

/** RFC 8446 section 4.2. Refuses a repeated extension, because the runtime might use the other one. */
function readExtensions(list: Reader): Map<number, Reader> {
  const extensions = new Map<number, Reader>();
  while (!list.isAtEnd) {
    const type = list.number(2);
    if (!READ.has(type)) {
      list.skip(list.number(2));
      continue;
    }
    if (extensions.has(type)) throw new RangeError(`extension ${type} is repeated`);
    extensions.set(type, list.vector(2));
  }
  return extensions;
}

/** RFC 8446 section 4.2.1: without the extension, `legacy_version` is the newest version, up to TLS 1.2. */
function readVersions(versions: readonly number[] | undefined, legacyVersion: number): string[] {
  const isOffered = (version: number) => versions?.includes(version) ?? version <= Math.min(legacyVersion, TLS_1_2);
  return VERSIONS.filter(([version]) => isOffered(version)).map(([, name]) => name);
}

/** RFC 6066 section 3 defines a list, but only one kind of name, so clients send and OpenSSL accepts one name only. */
function readServerName(extension: Reader | undefined): string | undefined {
  if (!extension) return undefined;
  const list = extension.only(2);
  const type = list.number(1);
  const name = list.only(2).text();
  if (type !== HOST_NAME || name.length === 0 || name.length > MAX_NAME_BYTES || name.includes("\0")) {
    throw new RangeError("the server name is malformed");
  }
  return comparableName(name);
}

/** A name that a client sent, in lower case and without a trailing dot. */
export function comparableName(name: string): string {
  const lower = name.toLowerCase();
  return lower.endsWith(".") ? lower.slice(0, -1) : lower;
}

/** RFC 7301 section 3.1. */
function readProtocols(extension: Reader | undefined): string[] {
  const protocols: string[] = [];
  const list = extension?.only(2);
  while (list && !list.isAtEnd) protocols.push(list.vector(1).text());
  return protocols;
}

/**
 * Reads numbers and vectors (RFC 8446 section 3) one after another. Works by index, because views of the bytes take
 * several times as long.
 *
 * Invariant: the position never passes the end of the content. Reading past the end throws a `RangeError`.
 */
class Reader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#end;
  }

  /** Moves the position, and returns the one before. */
  skip(count: number): number {
    const start = this.#at;
    if (start + count > this.#end) throw new RangeError("the ClientHello is cut off");
    this.#at += count;
    return start;
  }

  number(count: number): number {
    let number = 0;
    for (let next = this.skip(count); next < this.#at; next++) number = number * 256 + this.#bytes[next]!;
    return number;
  }

  /** Reads the length of a vector, and skips its content. */
  vector(lengthBytes: number): Reader {
    const length = this.number(lengthBytes);
    return new Reader(this.#bytes, this.skip(length), this.#at);
  }

  /** Reads a vector that fills the rest of the content. */
  only(lengthBytes: number): Reader {
    const content = this.vector(lengthBytes);
    this.requireEnd();
    return content;
  }

  /** Reads a vector of numbers of two bytes. */
  numbers(lengthBytes: number): number[] {
    const length = this.number(lengthBytes);
    const start = this.skip(length);
    if (length % 2 !== 0) throw new RangeError("the ClientHello is cut off");
    // Of its size from the start, because a hello holds about a hundred numbers.
    const numbers = new Array<number>(length / 2);
    for (let index = 0; index < numbers.length; index++) {
      const at = start + index * 2;
      numbers[index] = this.#bytes[at]! * 256 + this.#bytes[at + 1]!;
    }
    return numbers;
  }

  /** Reads a vector of numbers that fills the rest of the content. */
  onlyNumbers(lengthBytes: number): number[] {
    const numbers = this.numbers(lengthBytes);
    this.requireEnd();
    return numbers;
  }

  /** Reads the rest as text. */
  text(): string {
    const { buffer, byteOffset } = this.#bytes;
    const length = this.#end - this.#at;
    return Buffer.from(buffer, byteOffset + this.skip(length), length).toString("latin1");
  }

  requireEnd(): void {
    if (!this.isAtEnd) throw new RangeError("the ClientHello holds more bytes than its lengths say");
  }
}
