import { type PublicKeyFacts, readPublicKey } from "../x509/algorithms.ts";
import { type Certificate, derOf } from "../x509/certificate.ts";
import { CertificateStructure } from "../x509/certificate_structure.ts";

const publicKeys = new WeakMap<Certificate, PublicKeyFacts>();

/** The kind of key that a certificate holds: the name of the curve of an ECDSA key, otherwise the type of the key. */
export function keyKindOf(leaf: Certificate): string {
  const { kind, curve } = publicKeyOf(leaf);
  return curve ?? kind;
}

/** The type of the key that a certificate holds, for people: such as `P-256` or `rsa 2048`. */
export function keyTypeOf(leaf: Certificate): string {
  const kind = keyKindOf(leaf);
  return kind === "rsa" ? `rsa ${publicKeyOf(leaf).bits}` : kind;
}

/** Read here, because `KeyObject.asymmetricKeyDetails` takes three times as long on Node. */
function publicKeyOf(certificate: Certificate): PublicKeyFacts {
  let facts = publicKeys.get(certificate);
  if (facts === undefined) {
    facts = readPublicKey(new CertificateStructure(derOf(certificate)));
    publicKeys.set(certificate, facts);
  }
  return facts;
}
