import { contentOf, readChildren, readDer } from "./der.ts";
import { ExtensionId } from "./extensions.ts";
import type { PathCertificate } from "./path_certificate.ts";

const Id = {
  policies: "2.5.29.32",
  policyMappings: "2.5.29.33",
  policyConstraints: "2.5.29.36",
  inhibitAnyPolicy: "2.5.29.54",
  crlDistributionPoints: "2.5.29.31",
  ocspNoCheck: "1.3.6.1.5.5.7.48.1.5",
  netscapeCertType: "2.16.840.1.113730.1.1",
  proxyCertInfo: "1.3.6.1.5.5.7.1.14",
  ipAddrBlocks: "1.3.6.1.5.5.7.1.7",
  autonomousSystems: "1.3.6.1.5.5.7.1.8",
} as const;

/**
 * What a critical extension may be. Policies are not evaluated, as OpenSSL by default does not: they say under which
 * rules an authority works, not for whom.
 */
const MAY_BE_CRITICAL = new Set<string>([
  ExtensionId.basicConstraints,
  ExtensionId.extKeyUsage,
  ExtensionId.keyUsage,
  ExtensionId.nameConstraints,
  ExtensionId.subjectAltName,
  Id.policies,
  Id.policyMappings,
  Id.policyConstraints,
  Id.inhibitAnyPolicy,
  Id.crlDistributionPoints,
  Id.ocspNoCheck,
  Id.netscapeCertType,
]);

/** Extensions with rules of their own for a path, which no client of a server needs. */
const REFUSED: Readonly<Record<string, string>> = {
  [Id.proxyCertInfo]: "it is a proxy certificate (RFC 3820)",
  [Id.ipAddrBlocks]: "it certifies IP address blocks (RFC 3779)",
  [Id.autonomousSystems]: "it certifies autonomous systems (RFC 3779)",
};

const BIT_STRING = 0x03;
const NETSCAPE_SSL_CLIENT = 0x80;

/**
 * Finds why a certificate must not stand on any path, whatever its role on it.
 *
 * @param certificate The certificate.
 * @returns The reason, or `undefined` if there is none.
 */
export function defectOf(certificate: PathCertificate): string | undefined {
  const { extensions, structure, publicKey } = certificate;
  const critical = extensions.list.find(({ id, isCritical }) => isCritical && !MAY_BE_CRITICAL.has(id));
  if (critical) return `it has a critical extension that is not understood: ${critical.id}`;
  const refused = extensions.list.find(({ id }) => id in REFUSED);
  if (refused) return REFUSED[refused.id];
  if (structure.version !== 3 && extensions.list.length > 0) return "it has extensions, but is not of version 3";
  if (publicKey.kind === "ec" && publicKey.curve === undefined) return "its key spells out a curve";
  try {
    readAll(certificate);
  } catch (error) {
    return `it has a broken extension: ${(error as Error).message}`;
  }
  return extensions.keyUsage?.size === 0 ? "its keyUsage is empty" : undefined;
}

/**
 * Whether the extension of Netscape, where a certificate still has it, lets the client use it for TLS.
 *
 * @param certificate The certificate of the client.
 */
export function isNetscapeClient({ extensions }: PathCertificate): boolean {
  const extension = extensions.list.find(({ id }) => id === Id.netscapeCertType);
  if (!extension) return true;
  const [, bits = 0] = contentOf(readDer(extension.value)[0], BIT_STRING);
  return (bits & NETSCAPE_SSL_CLIENT) !== 0;
}

/** Reads every extension that is understood: one that is broken must not be taken for none. */
function readAll({ extensions }: PathCertificate): void {
  for (const name of Object.keys(ExtensionId)) extensions[GETTERS[name as keyof typeof ExtensionId]];
  for (const { id, value } of extensions.list) {
    if (id === Id.netscapeCertType) contentOf(readDer(value)[0], BIT_STRING);
    if (id !== Id.crlDistributionPoints) continue;
    for (const point of readChildren(readDer(value)[0])) {
      // RFC 5280 section 4.2.1.13: it must not hold reasons alone.
      if (!readChildren(point).some(({ tag }) => tag === 0xa0 || tag === 0xa2)) throw new RangeError("no CRL is named");
    }
  }
}

const GETTERS = {
  subjectKeyIdentifier: "subjectKeyIdentifier",
  keyUsage: "keyUsage",
  subjectAltName: "subjectAltNames",
  basicConstraints: "basicConstraints",
  nameConstraints: "nameConstraints",
  authorityKeyIdentifier: "authorityKeyIdentifier",
  extKeyUsage: "extendedKeyUsage",
} as const;
