import { KeyPurpose } from "../x509/certificate_extensions.ts";
import type { PathCertificate } from "../x509/path_certificate.ts";
import type { ChainFacts } from "./chain_facts.ts";
import { type Rule, titleOf } from "./finding.ts";
import { strictFindings } from "./strict.ts";

/** RFC 8446 section 4.2.3: the curves of certificates that clients offer to verify. */
const CURVES = ["P-256", "P-384", "P-521"];

/** BoringSSL looks at the keyUsage in every handshake, also with RSA, because key exchange is always ephemeral. */
const keyUsageWithoutDigitalSignature: Rule<ChainFacts> = ({ leaf, path: [first] }) => {
  const keyUsage = first?.parsed.extensions.keyUsage;
  if (!keyUsage || keyUsage.has("digitalSignature")) return [];
  return [{
    code: "KEY_USAGE_WITHOUT_DIGITAL_SIGNATURE",
    severity: "error",
    subject: titleOf(leaf),
    message: "its key usage lacks digitalSignature; BoringSSL clients (Chrome, Edge, Android, Bun) refuse it",
    hint: "reissue it with keyUsage = digitalSignature; RSA certificates may also have keyEncipherment",
  }];
};

const ekuWithoutServerAuth: Rule<ChainFacts> = ({ leaf, path }) =>
  path.filter(({ parsed: { extensions: { extendedKeyUsage } } }) =>
    extendedKeyUsage && !extendedKeyUsage.includes(KeyPurpose.serverAuth)
  ).map(({ certificate, parsed }) => ({
    code: "EKU_WITHOUT_SERVER_AUTH",
    severity: "error",
    subject: titleOf(certificate),
    message: parsed.extensions.extendedKeyUsage!.includes(KeyPurpose.clientAuth)
      ? "its extended key usage has clientAuth but lacks serverAuth"
      : "its extended key usage lacks serverAuth",
    hint: `reissue it with extendedKeyUsage = serverAuth${certificate === leaf ? "" : ", or without extendedKeyUsage"}`,
  }));

const leafIsAuthority: Rule<ChainFacts> = ({ leaf, path: [first] }) => {
  if (!first?.parsed.extensions.basicConstraints?.isCa) return [];
  return [{
    code: "LEAF_IS_AUTHORITY",
    severity: "error",
    subject: titleOf(leaf),
    message: "authority certificate (CA:TRUE); Firefox and rustls clients refuse it",
    hint: "reissue it with basicConstraints = CA:FALSE; openssl req -x509 sets CA:TRUE by default",
  }];
};

const rsaTooShort: Rule<ChainFacts> = ({ path }) =>
  path.filter(({ parsed: { publicKey } }) => publicKey.bits !== undefined && isRsa(publicKey) && publicKey.bits < 2048)
    .map(({ certificate, parsed }) => ({
      code: "RSA_TOO_SHORT",
      severity: "error",
      subject: titleOf(certificate),
      message: `its RSA key has ${parsed.publicKey.bits} bits; clients require at least 2048`,
      hint: "reissue it with a P-256 key, or an RSA key of 2048 bits",
    }));

const curveWeak: Rule<ChainFacts> = ({ path }) =>
  path.filter(({ parsed: { publicKey } }) => publicKey.kind === "ec" && !CURVES.includes(publicKey.curve ?? ""))
    .map(({ certificate, parsed }) => ({
      code: "CURVE_WEAK",
      severity: "error",
      subject: titleOf(certificate),
      message: `its key is on the curve ${parsed.publicKey.curve}, which clients do not support`,
      hint: "reissue it with a P-256 key",
    }));

/** The signature of a root on itself says nothing, and no client looks at it. */
const signatureWeak: Rule<ChainFacts> = ({ path }) =>
  path.filter(({ parsed }) => isForgeable(parsed) && !parsed.isSelfSigned).map(({ certificate, parsed }) => ({
    code: "SIGNATURE_WEAK",
    severity: "error",
    subject: titleOf(certificate),
    message: `its signature uses ${parsed.signatureAlgorithm.hash === "md5" ? "MD5" : "SHA-1"}, which can be forged`,
    hint: "reissue it with a SHA-256 signature",
  }));

/** RFC 6818 section 2: the profile is not for a certificate of a server that signs itself. */
const notStrict: Rule<ChainFacts> = ({ path }) => {
  const isLoneLeaf = path.length === 1 && path[0]!.parsed.isSelfIssued;
  return isLoneLeaf ? [] : path.flatMap((link) => strictFindings("NOT_STRICT", link));
};

function isRsa({ kind }: PathCertificate["publicKey"]): boolean {
  return kind === "rsa" || kind === "rsa-pss";
}

function isForgeable({ signatureAlgorithm: { hash } }: PathCertificate): boolean {
  return hash === "sha1" || hash === "md5";
}

/** The rules about keys, their usage, and signatures. */
export const KEY_RULES: readonly Rule<ChainFacts>[] = [
  keyUsageWithoutDigitalSignature,
  ekuWithoutServerAuth,
  leafIsAuthority,
  rsaTooShort,
  curveWeak,
  signatureWeak,
  notStrict,
];
