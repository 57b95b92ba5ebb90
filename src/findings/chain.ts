import { isVerifiable, signatureFault } from "../x509/signatures.ts";
import type { ChainFacts } from "./chain_facts.ts";
import { type Rule, type RuleFinding, titleOf } from "./finding.ts";

const intermediateMissing: Rule<ChainFacts> = ({ leaf, path, roots, rooted, unrelated }) => {
  const top = path.at(-1);
  if (!top || top.parsed.isSelfIssued) return [];
  const finding = {
    code: "INTERMEDIATE_MISSING",
    subject: titleOf(leaf),
    hint: "append the certificate of the issuer; ACME clients call the file with all of them fullchain.pem",
  } as const;
  const issuer = top.certificate.issuer;
  if (roots) {
    if (rooted?.path || roots.bySubject(top.parsed.issuerKey).length > 0) return [];
    const message =
      `the chain ends before a root: the certificate of "${issuer}" is missing, so most clients refuse it`;
    return [{ ...finding, severity: "error", message }];
  }
  if (path.length > 1) return [];
  if (unrelated.length > 0) {
    const message = `none of the other certificates is that of its issuer "${issuer}"`;
    return [{ ...finding, severity: "warning", message }];
  }
  const message = `it stands alone: unless "${issuer}" is a root that clients trust, an intermediate is missing`;
  return [{ ...finding, severity: "note", message }];
};

const authorityUnknown: Rule<ChainFacts> = ({ leaf, path, roots, rooted }) => {
  const top = path.at(-1);
  if (!roots || rooted?.path || !top?.parsed.isSelfIssued || roots.bySubject(top.parsed.subjectKey).length > 0) {
    return [];
  }
  const message = `the chain ends at "${titleOf(top.certificate)}", which is not one of the roots`;
  return [{
    code: "AUTHORITY_UNKNOWN",
    severity: "error",
    subject: titleOf(leaf),
    message,
    hint: "get a certificate of an authority that clients trust, or give clients this one",
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
    message: `no path to a root is accepted: ${rooted.reason}`,
    hint: "issue it again, by an authority that may issue it",
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
      message: `its signature is not that of "${titleOf(issuer.certificate)}", whose name it bears`,
      hint: "append the certificate of the authority that has issued it; the authority may have a new key",
    }];
  });

const chainDisordered: Rule<ChainFacts> = ({ leaf, chain, path }) => {
  const places = path.map(({ certificate }) => chain.indexOf(certificate));
  if (places.every((place, index) => index === 0 || place > places[index - 1]!)) return [];
  return [{
    code: "CHAIN_DISORDERED",
    severity: "warning",
    subject: titleOf(leaf),
    message: "the certificates stand out of order, which clients of TLS 1.2 need not accept",
    hint: `put each one after what it has issued: ${places.map((place) => place + 1).join(", ")}`,
  }];
};

const chainUnrelated: Rule<ChainFacts> = ({ chain, unrelated }) =>
  unrelated.map((certificate) => {
    const isRepeated = chain.some((each) => each !== certificate && each.fingerprint256 === certificate.fingerprint256);
    return {
      code: "CHAIN_UNRELATED",
      severity: "warning",
      subject: titleOf(certificate),
      message: isRepeated ? "it is sent twice" : "it has issued nothing of this chain, and is sent to every client",
      hint: `remove certificate ${chain.indexOf(certificate) + 1} of the file`,
    };
  });

const rootSent: Rule<ChainFacts> = ({ chain, path }) =>
  path.slice(1).filter(({ parsed }) => parsed.isSelfSigned).map(({ certificate }) => ({
    code: "ROOT_SENT",
    severity: "note",
    subject: titleOf(certificate),
    message: "this root is sent to every client, and no client needs it",
    hint: `remove certificate ${chain.indexOf(certificate) + 1} of the file`,
  }));

const certificateDefective: Rule<ChainFacts> = ({ defects }) =>
  [...defects].map(([certificate, reason]) => ({
    code: "CERTIFICATE_DEFECTIVE",
    severity: "error",
    subject: titleOf(certificate),
    message: `clients that read it strictly refuse it: ${reason}`,
    hint: "issue it again",
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
