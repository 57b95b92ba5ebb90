import type { Certificate } from "../x509/certificate.ts";
import type { PathCertificate } from "../x509/path_certificate.ts";
import { weaknessOf } from "../x509/signatures.ts";
import { inspect } from "./chain_facts.ts";
import { type Rule, type RuleFinding, titleOf } from "./finding.ts";
import { isExpiring, spanText } from "./lifetimes.ts";
import { strictFindings } from "./strict.ts";

/** The facts that the rules about client authorities read. */
export interface AuthorityFacts {
  /** The authorities of the clients. */
  readonly authorities: readonly Certificate[];
  /** The moment, in milliseconds since 1970. */
  readonly at: number;
}

const authorityUnusable: Rule<AuthorityFacts> = ({ authorities }) => {
  const inspected = authorities.map((certificate) => ({ certificate, ...inspect(certificate) }));
  const subjects = new Set(inspected.map(({ parsed }) => parsed?.subjectKey ?? ""));
  return inspected.flatMap(({ certificate, parsed, defect }): RuleFinding[] => {
    const fault = parsed ? unusabilityOf(parsed, subjects) : defect;
    return fault === undefined ? [] : [{
      code: "AUTHORITY_UNUSABLE",
      severity: "error",
      subject: titleOf(certificate),
      message: `its clients are refused: ${fault}`,
      hint: "use the root certificate of the authority that issues the client certificates",
    }];
  });
};

const authorityOutOfValidity: Rule<AuthorityFacts> = ({ authorities, at }) =>
  authorities.filter((each) => !each.isValidAt(new Date(at))).map((certificate) => {
    const { notBefore, notAfter } = certificate;
    const isExpired = notAfter.getTime() < at;
    return {
      code: isExpired ? "AUTHORITY_EXPIRED" : "AUTHORITY_NOT_YET_VALID",
      severity: "error",
      subject: titleOf(certificate),
      message: isExpired
        ? `expired ${spanText(at - notAfter.getTime())} ago; its clients are refused`
        : `becomes valid in ${spanText(notBefore.getTime() - at)}; its clients are refused until then`,
      hint: isExpired ? "add the new authority, then remove this one" : "keep the previous authority until then",
    };
  });

const authorityExpiring: Rule<AuthorityFacts> = ({ authorities, at }) =>
  authorities.filter((each) => isExpiring(each, at)).map((certificate) => ({
    code: "AUTHORITY_EXPIRING",
    severity: "warning",
    subject: titleOf(certificate),
    message: `expires in ${spanText(certificate.notAfter.getTime() - at)}; its clients are refused after that`,
    hint: "add the new authority, and issue new client certificates",
  }));

const authorityNotStrict: Rule<AuthorityFacts> = ({ authorities }) =>
  authorities.flatMap((certificate) => {
    const { parsed } = inspect(certificate);
    return parsed ? strictFindings("AUTHORITY_NOT_STRICT", { certificate, parsed }) : [];
  });

/** The reason why the verification of clients cannot use an authority as an anchor, see `findPath()`. */
function unusabilityOf(authority: PathCertificate, subjects: ReadonlySet<string>): string | undefined {
  const { structure, extensions: { basicConstraints, keyUsage } } = authority;
  if (structure.version !== 3) return "it is not version 3";
  if (!basicConstraints?.isCa) return "it is not an authority (CA:FALSE)";
  if (keyUsage && !keyUsage.has("keyCertSign")) return "its keyUsage lacks keyCertSign";
  if (!authority.isSelfSigned && !subjects.has(authority.issuerKey)) return "the certificate of its issuer is missing";
  return weaknessOf(authority);
}

/** The rules about the authorities of clients. */
export const AUTHORITY_RULES: readonly Rule<AuthorityFacts>[] = [
  authorityUnusable,
  authorityOutOfValidity,
  authorityExpiring,
  authorityNotStrict,
];
