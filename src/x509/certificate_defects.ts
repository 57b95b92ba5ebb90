import { contentOf, DerTag, readChildren, readDer } from "./der.ts";
import { ExtensionId } from "./certificate_extensions.ts";
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
 * The critical extensions that do not make a certificate unusable. Policies are not evaluated, like in OpenSSL by
 * default, because they describe the rules that an authority works by, not the holders of its certificates.
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

/** Extensions that change the rules of path validation, and that no client of a server needs. */
const REFUSED: Readonly<Record<string, string>> = {
  [Id.proxyCertInfo]: "it is a proxy certificate (RFC 3820)",
  [Id.ipAddrBlocks]: "it certifies IP address blocks (RFC 3779)",
  [Id.autonomousSystems]: "it certifies autonomous systems (RFC 3779)",
};

const NETSCAPE_SSL_CLIENT = 0x80;

/** The reason why no path may contain a certificate, in any role; `undefined` if there is none. */
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

/** Whether a certificate allows its use by a TLS client, if it has the extension of Netscape. */
export function isNetscapeClient({ extensions }: PathCertificate): boolean {
  const extension = extensions.list.find(({ id }) => id === Id.netscapeCertType);
  if (!extension) return true;
  const [, bits = 0] = contentOf(readDer(extension.value)[0], DerTag.bitString);
  return (bits & NETSCAPE_SSL_CLIENT) !== 0;
}

/** Reads every extension that counts, because a malformed one must not count as absent. */
function readAll({ extensions }: PathCertificate): void {
  extensions.requireWellFormed();
  for (const { id, value } of extensions.list) {
    if (id === Id.netscapeCertType) contentOf(readDer(value)[0], DerTag.bitString);
    if (id !== Id.crlDistributionPoints) continue;
    for (const point of readChildren(readDer(value)[0])) {
      // RFC 5280 section 4.2.1.13: a distribution point must not hold reasons alone.
      if (!readChildren(point).some(({ tag }) => tag === 0xa0 || tag === 0xa2)) throw new RangeError("no CRL is named");
    }
  }
}
