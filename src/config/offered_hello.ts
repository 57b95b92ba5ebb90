import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import type { TlsVersion } from "./options.ts";

/** The offer of a client in its ClientHello. */
export interface ClientOffer {
  /** The only protocol version. */
  readonly version: TlsVersion;
  /** The code points of the cipher suites. */
  readonly suites: Iterable<number>;
  /** The code points of the groups for key exchange. */
  readonly groups: Iterable<number>;
  /** The name that the client asks for; absent if it sends none. */
  readonly serverName?: string;
}

const RECORD_HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_HELLO = 2;
const LEGACY_VERSION = 0x0303;
const TLS_1_3 = 0x0304;
/** The position of the type of the first handshake message, after the header of the record. */
const MESSAGE_TYPE_AT = 5;
/** Extension types of RFC 8446 section 4.2, RFC 8422 and RFC 7627. */
const Extension = {
  serverName: 0,
  supportedGroups: 10,
  pointFormats: 11,
  signatureAlgorithms: 13,
  extendedMasterSecret: 23,
  supportedVersions: 43,
  pskModes: 45,
  keyShare: 51,
  renegotiationInfo: 0xff01,
};
/** ECDSA, RSA-PSS, RSA PKCS#1 and Ed25519 with the usual hashes, for every key that a configuration can hold. */
const SIGNATURES = [0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0807];

/**
 * Encodes the first record of a client that makes exactly one offer. The TLS clients of the runtimes cannot make it,
 * because some of them ignore the options that are checked here. In TLS 1.3 the record has no key share, so the server
 * answers with the group that it chooses.
 */
export function encodeClientHello(offer: ClientOffer): Uint8Array {
  const body = Buffer.concat([
    uint16s([LEGACY_VERSION]),
    randomBytes(32),
    vector8(offer.version === "TLSv1.3" ? randomBytes(32) : Buffer.alloc(0)),
    vector16(uint16s(offer.suites)),
    vector8(Buffer.of(0)),
    vector16(Buffer.concat(extensionsOf(offer))),
  ]);
  const message = Buffer.concat([Buffer.of(CLIENT_HELLO, 0), uint16s([body.length]), body]);
  return Buffer.concat([Buffer.of(RECORD_HANDSHAKE, 3, 1), vector16(message)]);
}

/**
 * Whether a server accepts an offer: whether its answer begins with a ServerHello; `undefined` as long as there are too
 * few bytes. A HelloRetryRequest, which asks for a key share, has the form of a ServerHello.
 */
export function isServerHello(answer: Uint8Array): boolean | undefined {
  if (answer.length > 0 && answer[0] !== RECORD_HANDSHAKE) return false;
  if (answer.length <= MESSAGE_TYPE_AT) return undefined;
  return answer[MESSAGE_TYPE_AT] === SERVER_HELLO;
}

function extensionsOf({ version, groups, serverName }: ClientOffer): Buffer[] {
  const hostName = (name: string) => Buffer.concat([Buffer.of(0), vector16(Buffer.from(name))]);
  return [
    ...(serverName === undefined ? [] : [extension(Extension.serverName, vector16(hostName(serverName)))]),
    extension(Extension.supportedGroups, vector16(uint16s(groups))),
    extension(Extension.pointFormats, vector8(Buffer.of(0))),
    extension(Extension.signatureAlgorithms, vector16(uint16s(SIGNATURES))),
    ...(version === "TLSv1.3"
      ? [
        extension(Extension.supportedVersions, vector8(uint16s([TLS_1_3]))),
        extension(Extension.pskModes, vector8(Buffer.of(1))),
        extension(Extension.keyShare, vector16(Buffer.alloc(0))),
      ]
      : [
        extension(Extension.extendedMasterSecret, Buffer.alloc(0)),
        extension(Extension.renegotiationInfo, vector8(Buffer.alloc(0))),
      ]),
  ];
}

function uint16s(values: Iterable<number>): Buffer {
  return Buffer.from([...values].flatMap((value) => [value >> 8, value & 0xff]));
}

function vector8(content: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(content.length), content]);
}

function vector16(content: Uint8Array): Buffer {
  return Buffer.concat([uint16s([content.length]), content]);
}

function extension(type: number, content: Uint8Array): Buffer {
  return Buffer.concat([uint16s([type]), vector16(content)]);
}
