import { Buffer } from "node:buffer";
import { DerTag, type DerValue, readDer, readOid } from "./der.ts";
import { distinguishedName } from "./distinguished_name.ts";

/** A name of the holder of a certificate, or a limit in a name constraint (RFC 5280 section 4.2.1.6). */
export type GeneralName =
  | {
    readonly kind: "dns" | "email" | "uri";
    /** The name, byte for byte. */
    readonly value: string;
  }
  | {
    readonly kind: "ip";
    /**
     * The address in its canonical text (RFC 5952); empty if the bytes are not one address, such as in a constraint.
     */
    readonly value: string;
    /** 4 or 16 bytes; in a name constraint 8 or 32 bytes, address and mask. */
    readonly bytes: Uint8Array;
  }
  | {
    readonly kind: "directory";
    /** The name in the form of RFC 4514. */
    readonly value: string;
    /** The Name. */
    readonly name: DerValue;
  }
  | {
    readonly kind: "other";
    /** The tag of the name: otherName, x400Address, ediPartyName or registeredID. */
    readonly tag: number;
    /** The content. */
    readonly bytes: Uint8Array;
  };

const OTHER_NAME = 0xa0;
const REGISTERED_ID = 0x88;
/** The context-specific tags of RFC 5280 appendix A.2. */
const KINDS: Readonly<Record<number, GeneralName["kind"]>> = {
  [OTHER_NAME]: "other",
  0x81: "email",
  0x82: "dns",
  0xa3: "other", // x400Address
  0xa4: "directory",
  0xa5: "other", // ediPartyName
  0x86: "uri",
  0x87: "ip",
  [REGISTERED_ID]: "other",
};

/**
 * Reads a GeneralName.
 *
 * @throws {RangeError} If the kind is unknown, or the name is malformed.
 */
export function readGeneralName({ tag, content }: DerValue): GeneralName {
  const kind = KINDS[tag];
  switch (kind) {
    case "dns":
    case "email":
    case "uri":
      return { kind, value: Buffer.from(content).toString("latin1") };
    case "ip":
      return { kind, value: ipAddressText(content) ?? "", bytes: content };
    case "directory": {
      const [name, ...rest] = readDer(content);
      if (!name || rest.length > 0) throw new RangeError("a directory name in the certificate is broken");
      return { kind, value: distinguishedName(name), name };
    }
    case "other":
      requireWellFormed(tag, content);
      return { kind, tag, bytes: content };
    default:
      throw new RangeError("a name in the certificate has an unknown kind");
  }
}

/** Formats an IP address in its canonical text (RFC 5952); `undefined` unless it has 4 or 16 bytes. */
export function ipAddressText(bytes: Uint8Array): string | undefined {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) return undefined;
  const groups = Buffer.from(bytes).toString("hex").match(/.{4}/g)!.join(":");
  // The URL parser shortens the longest run of zero groups.
  return new URL(`http://[${groups}]`).hostname.slice(1, -1);
}

function requireWellFormed(tag: number, content: Uint8Array): void {
  if (tag === REGISTERED_ID) {
    readOid({ tag: DerTag.oid, content, encoded: content });
    return;
  }
  const [type, value, ...rest] = readDer(content);
  if (tag !== OTHER_NAME) return;
  readOid(type);
  if (value?.tag !== 0xa0 || rest.length > 0 || readDer(value.content).length !== 1) {
    throw new RangeError("an otherName in the certificate is broken");
  }
}
