import type { PathCertificate } from "../x509/path_certificate.ts";
import { namesOneAlgorithm } from "../x509/signatures.ts";
import type { Link } from "./chain_facts.ts";
import { type RuleFinding, titleOf } from "./finding.ts";

/** A demand of RFC 5280 on every certificate that an authority issues. */
type Demand = readonly [isBroken: (certificate: PathCertificate) => boolean | undefined, fault: string];

/**
 * What OpenSSL checks with `-x509_strict` and not without (`check_extensions()` of crypto/x509/x509_vfy.c, OpenSSL 3.0
 * to 3.5). Python 3.13 and later sets that flag for every client by default. What OpenSSL refuses without the
 * flag as well is not here, such as a key identifier that is critical.
 */
const DEMANDS: readonly Demand[] = [
  [
    ({ structure, extensions }) => structure.version !== 3 && extensions.list.length > 0,
    "it has extensions but is not version 3",
  ],
  [(each) => isPathLimited(each) && !isCa(each), "it has a path length but is not an authority"],
  [
    (each) => isPathLimited(each) && lacks(each, "keyCertSign"),
    "it has a path length but its keyUsage lacks keyCertSign",
  ],
  [(each) => isCa(each) && !each.extensions.isCritical("basicConstraints"), "its basicConstraints is not critical"],
  [(each) => isCa(each) && !each.extensions.keyUsage, "it is an authority but has no keyUsage"],
  [
    (each) => !isCa(each) && each.extensions.keyUsage?.has("keyCertSign"),
    "its keyUsage has keyCertSign but it is not an authority",
  ],
  [({ issuerKey }) => issuerKey === "", "its issuer is empty"],
  [
    ({ subjectKey, extensions: { basicConstraints, subjectAltNames } }) =>
      subjectKey === "" && (basicConstraints?.isCa || subjectAltNames === undefined),
    "its subject is empty",
  ],
  [
    ({ subjectKey, extensions }) =>
      subjectKey === "" && extensions.subjectAltNames && !extensions.isCritical("subjectAltName"),
    "its subject is empty but its subjectAltName is not critical",
  ],
  [({ extensions }) => extensions.subjectAltNames?.length === 0, "its subjectAltName is empty"],
  [({ structure }) => !namesOneAlgorithm(structure), "it names two signature algorithms"],
  [
    (each) => !each.isSelfSigned && each.extensions.authorityKeyIdentifier?.keyIdentifier === undefined,
    "it has no authorityKeyIdentifier",
  ],
  [(each) => isCa(each) && each.extensions.subjectKeyIdentifier === undefined, "it has no subjectKeyIdentifier"],
];

/** The first demand that a certificate does not meet, which strict clients refuse and others take. */
export function strictFindings(
  code: "NOT_STRICT" | "AUTHORITY_NOT_STRICT",
  { certificate, parsed }: Link,
): RuleFinding[] {
  const [, fault] = DEMANDS.find(([isBroken]) => isBroken(parsed)) ?? [];
  return fault === undefined ? [] : [{
    code,
    severity: "warning",
    subject: titleOf(certificate),
    message: `Python 3.13 and openssl -x509_strict refuse it: ${fault}`,
    hint: "reissue it according to RFC 5280",
  }];
}

function isCa({ extensions: { basicConstraints } }: PathCertificate): boolean {
  return basicConstraints?.isCa ?? false;
}

function isPathLimited({ extensions: { basicConstraints } }: PathCertificate): boolean {
  return basicConstraints?.maxPathLength !== undefined;
}

function lacks({ extensions: { keyUsage } }: PathCertificate, usage: "keyCertSign"): boolean {
  return keyUsage !== undefined && !keyUsage.has(usage);
}
