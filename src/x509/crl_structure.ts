import { readSignatureAlgorithm } from "./algorithms.ts";
import { bitString } from "./certificate_structure.ts";
import {
  contentOf,
  DerTag,
  type DerValue,
  readChildren,
  readDer,
  readDerValue,
  readInteger,
  takeOptional,
} from "./der.ts";
import { canonicalName, distinguishedName } from "./distinguished_name.ts";
import { type Extension, readExtension } from "./extension.ts";
import { InvalidField } from "./invalid_field.ts";
import { hexOf } from "./octets.ts";
import { RevokedSerials } from "./revoked_serials.ts";
import type { SignedData } from "./signatures.ts";
import { readTime } from "./time.ts";

/** The context-specific tags of RFC 5280 sections 5.1 and 5.2. */
const Tag = { extensions: 0xa0, keyIdentifier: 0x80, indirect: 0x84 } as const;
const ExtensionId = {
  crlNumber: "2.5.29.20",
  deltaCrlIndicator: "2.5.29.27",
  issuingDistributionPoint: "2.5.29.28",
  authorityKeyIdentifier: "2.5.29.35",
} as const;
const KNOWN_EXTENSIONS: readonly string[] = Object.values(ExtensionId);

/** The fields of a certificate revocation list (RFC 5280 section 5.1). */
export interface CrlStructure {
  /** The issuer, such as `CN=Example CA,O=Example` (RFC 4514). */
  readonly issuer: string;
  /** The canonical issuer: equal strings for Names that are equal by RFC 5280 section 7.1. */
  readonly issuerKey: string;
  /** Milliseconds since 1970. */
  readonly thisUpdate: number;
  /** Milliseconds since 1970; `undefined` if the list breaks RFC 5280 and does not have it. */
  readonly nextUpdate: number | undefined;
  /** In upper-case hexadecimal (RFC 5280 section 5.2.1); `undefined` if not given. */
  readonly authorityKeyIdentifier: string | undefined;
  /** In upper-case hexadecimal (RFC 5280 section 5.2.3); `undefined` if not given. */
  readonly crlNumber: string | undefined;
  readonly serials: RevokedSerials;
  readonly signed: SignedData;
}

/**
 * Reads a list, which no byte may follow. Refuses lists that are not complete for their issuer.
 *
 * @throws {InvalidField} If the list is of a kind that is refused.
 * @throws {RangeError} If the bytes are not a list.
 */
export function readCrlStructure(der: Uint8Array): CrlStructure {
  const [list, ...rest] = readDer(der);
  const [tbs, algorithm, signature, ...more] = readChildren(list);
  if (!tbs || !algorithm || rest.length + more.length > 0) throw new RangeError("it does not have three parts");
  const fields = readChildren(tbs);
  const version = takeOptional(fields, DerTag.integer);
  if (version && readInteger(version) > 1n) throw new InvalidField("its version is not 1 or 2");
  const [signedAlgorithm, issuer, thisUpdate, ...optional] = fields;
  const nextUpdate = takeOptional(optional, DerTag.utcTime, DerTag.generalizedTime);
  const entries = takeOptional(optional, DerTag.sequence)?.content ?? new Uint8Array();
  const extensions = readExtensions(takeOptional(optional, Tag.extensions));
  if (!signedAlgorithm || !issuer || optional.length > 0) throw new RangeError("it has unknown fields");
  return {
    issuer: distinguishedName(issuer),
    issuerKey: canonicalName(issuer).join(""),
    thisUpdate: readTime("thisUpdate", thisUpdate),
    nextUpdate: nextUpdate && readTime("nextUpdate", nextUpdate),
    authorityKeyIdentifier: readKeyIdentifier(extensions.get(ExtensionId.authorityKeyIdentifier)?.value),
    crlNumber: readCrlNumber(extensions.get(ExtensionId.crlNumber)?.value),
    serials: new RevokedSerials(entries),
    signed: {
      structure: { signed: tbs.encoded, algorithm, signedAlgorithm, signature: bitString(signature) },
      signatureAlgorithm: readSignatureAlgorithm(algorithm),
    },
  };
}

/** RFC 5280 section 5.2. A list with an unknown critical extension must not be used. */
function readExtensions(list: DerValue | undefined): Map<string, Extension> {
  const extensions = new Map<string, Extension>();
  if (!list) return extensions;
  for (const extension of readChildren(readDerValue(list.content)).map(readExtension)) {
    if (extensions.has(extension.id)) throw new RangeError("an extension is repeated");
    requireSupported(extension);
    extensions.set(extension.id, extension);
  }
  return extensions;
}

function requireSupported({ id, isCritical, value }: Extension): void {
  if (id === ExtensionId.deltaCrlIndicator) throw new InvalidField("delta CRLs (deltaCRLIndicator) are not supported");
  if (id === ExtensionId.issuingDistributionPoint) {
    const scope = readChildren(readDerValue(value));
    const isIndirect = scope.some(({ tag, content }) => tag === Tag.indirect && content[0]);
    const kind = isIndirect
      ? "indirect CRLs (indirectCRL of issuingDistributionPoint)"
      : "CRLs of a part of the certificates (issuingDistributionPoint)";
    throw new InvalidField(`${kind} are not supported`);
  }
  if (isCritical && !KNOWN_EXTENSIONS.includes(id)) {
    throw new InvalidField(`its critical extension ${id} is not known`);
  }
}

function readKeyIdentifier(value: Uint8Array | undefined): string | undefined {
  const identifier = value && readChildren(readDerValue(value)).find(({ tag }) => tag === Tag.keyIdentifier);
  return identifier && hexOf(identifier.content);
}

function readCrlNumber(value: Uint8Array | undefined): string | undefined {
  return value && hexOf(contentOf(readDerValue(value), DerTag.integer));
}
