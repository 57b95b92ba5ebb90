import { isVerifiable, signatureFault } from "../x509/signatures.ts";
import type { ChainFacts } from "./chain_facts.ts";
import { type Rule, type RuleFinding, titleOf } from "./finding.ts";

const intermediateMissing: Rule<ChainFacts> = ({ leaf, path, roots, rooted, unrelated }) => {
  const top = path.at(-1);
  if (!top || top.parsed.isSelfIssued) return [];
  const finding = {
    code: "INTERMEDIATE_MISSING",
    subject: titleOf(leaf),
    hint: "append the issuer's certificate, or serve the full chain (fullchain.pem of ACME clients)",
  } as const;
  const issuer = top.certificate.issuer;
  if (roots) {
    if (rooted?.path || roots.bySubject(top.parsed.issuerKey).length > 0) return [];
    const message = `the certificate of "${issuer}" is missing from the chain; most clients refuse it`;
    return [{ ...finding, severity: "error", message }];
  }
  if (path.length > 1) return [];
  if (unrelated.length > 0) {
    const message = `the certificate of its issuer "${issuer}" is missing from the chain`;
    return [{ ...finding, severity: "warning", message }];
  }
  const message = `no intermediate follows it; clients refuse it unless "${issuer}" is a root that they trust`;
  return [{ ...finding, severity: "note", message }];
};

const authorityUnknown: Rule<ChainFacts> = ({ leaf, path, roots, rooted }) => {
  const top = path.at(-1);
  if (!roots || rooted?.path || !top?.parsed.isSelfIssued || roots.bySubject(top.parsed.subjectKey).length > 0) {
    return [];
  }
  const message = `the chain ends at "${titleOf(top.certificate)}", which is not a trusted root`;
  return [{
    code: "AUTHORITY_UNKNOWN",
    severity: "error",
    subject: titleOf(leaf),
    message,
    hint: "use a certificate from a trusted authority, or add this root to the clients",
  }];
};

/** A certificate that is not valid now has a finding of its own, which also explains why there is no path. */
const pathRefused: Rule<ChainFacts> = ({ leaf, path, roots, rooted, at }) => {
  const top = path.at(-1);
  if (!roots || !rooted || rooted.path || !top) return [];
  const { issuerKey } = top.parsed;
  if (roots.bySubject(issuerKey).length === 0 || path.some(({ certificate }) => !certificate.isValidAt(new Date(at)))) {
    return [];
  }
  return [{
    code: "PATH_REFUSED",
    severity: "error",
    subject: titleOf(leaf),
    message: `no path to a root is valid: ${rooted.reason}`,
    hint: "reissue it from an authority that is allowed to issue it",
  }];
};

const signatureWrong: Rule<ChainFacts> = ({ path }) =>
  path.slice(0, -1).flatMap(({ certificate, parsed }, index): RuleFinding[] => {
    const issuer = path[index + 1]!;
    // Weak digests and keys have findings of their own.
    if (!isVerifiable(parsed) || signatureFault(parsed, issuer.parsed) === undefined) return [];
    return [{
      code: "SIGNATURE_WRONG",
      severity: "error",
      subject: titleOf(certificate),
      message: `its signature does not match the key of its issuer "${titleOf(issuer.certificate)}"`,
      hint: "append the issuer's certificate for the key that signed it; the authority may have changed its key",
    }];
  });

const chainDisordered: Rule<ChainFacts> = ({ leaf, chain, path }) => {
  const places = path.map(({ certificate }) => chain.indexOf(certificate));
  if (places.every((place, index) => index === 0 || place > places[index - 1]!)) return [];
  return [{
    code: "CHAIN_DISORDERED",
    severity: "warning",
    subject: titleOf(leaf),
    message: "the certificates are out of order; TLS 1.2 clients may refuse the chain",
    hint: `reorder the certificates: ${places.map((place) => place + 1).join(", ")}`,
  }];
};

const chainUnrelated: Rule<ChainFacts> = ({ chain, unrelated }) =>
  unrelated.map((certificate) => {
    const isRepeated = chain.some((each) => each !== certificate && each.fingerprint256 === certificate.fingerprint256);
    return {
      code: "CHAIN_UNRELATED",
      severity: "warning",
      subject: titleOf(certificate),
      message: isRepeated ? "duplicate certificate" : "not part of the chain, but sent to every client",
      hint: `remove certificate ${chain.indexOf(certificate) + 1} from the file`,
    };
  });

const rootSent: Rule<ChainFacts> = ({ chain, path }) =>
  path.slice(1).filter(({ parsed }) => parsed.isSelfSigned).map(({ certificate }) => ({
    code: "ROOT_SENT",
    severity: "note",
    subject: titleOf(certificate),
    message: "the root is sent to every client, but no client needs it",
    hint: `remove certificate ${chain.indexOf(certificate) + 1} from the file`,
  }));

const certificateDefective: Rule<ChainFacts> = ({ defects }) =>
  [...defects].map(([certificate, reason]) => ({
    code: "CERTIFICATE_DEFECTIVE",
    severity: "error",
    subject: titleOf(certificate),
    message: `some clients refuse it: ${reason}`,
    hint: "reissue it without this defect",
  }));

/** The rules about the relations between the certificates of a chain. */
export const CHAIN_RULES: readonly Rule<ChainFacts>[] = [
  certificateDefective,
  intermediateMissing,
  authorityUnknown,
  signatureWrong,
  pathRefused,
  chainDisordered,
  chainUnrelated,
  rootSent,
];
