import type { Certificate } from "../x509/certificate.ts";
import type { CertificateRevocationList } from "../x509/crl.ts";
import { inspect } from "./chain_facts.ts";
import type { Rule, RuleFinding } from "./finding.ts";
import { isExpiring, spanText } from "./lifetimes.ts";

/** The facts that the rules about revocation lists read. */
export interface RevocationFacts {
  /** The revocation lists. */
  readonly crls: readonly CertificateRevocationList[];
  /** The certificates that may have issued the lists. */
  readonly authorities: readonly Certificate[];
  /** The moment, in milliseconds since 1970. */
  readonly at: number;
}

const crlStale: Rule<RevocationFacts> = ({ crls, at }) =>
  crls.filter((crl) => !crl.isCurrentAt(new Date(at))).map((crl) => {
    const sinceMs = at - (crl.nextUpdate?.getTime() ?? at);
    return {
      code: "CRL_STALE",
      severity: "error",
      subject: crl.issuer,
      message: sinceMs > 0
        ? `expired ${spanText(sinceMs)} ago (nextUpdate); later revocations are unknown`
        : `becomes valid in ${spanText(crl.thisUpdate.getTime() - at)}`,
      hint: "fetch the current revocation list, and check the job that fetches it",
    };
  });

const crlExpiring: Rule<RevocationFacts> = ({ crls, at }) =>
  crls.flatMap((crl): RuleFinding[] => {
    const { thisUpdate, nextUpdate } = crl;
    if (nextUpdate === undefined || !isExpiring({ notBefore: thisUpdate, notAfter: nextUpdate }, at)) return [];
    return [{
      code: "CRL_EXPIRING",
      severity: "warning",
      subject: crl.issuer,
      message: `expires in ${spanText(nextUpdate.getTime() - at)} (nextUpdate)`,
      hint: "fetch the next revocation list, and check the job that fetches it",
    }];
  });

const crlForeign: Rule<RevocationFacts> = ({ authorities, crls }) => {
  if (authorities.length === 0) return [];
  const issuers = authorities.flatMap((authority) => inspect(authority).parsed ?? []);
  return crls.flatMap((crl): RuleFinding[] => {
    const named = issuers.find((issuer) => crl.names(issuer));
    if (issuers.some((issuer) => crl.faultFor(issuer) === undefined)) return [];
    const reason = named ? crl.faultFor(named) : "its issuer is not a client authority";
    return [{
      code: "CRL_FOREIGN",
      severity: "error",
      subject: crl.issuer,
      message: `does not apply to the clients of this server: ${reason}`,
      hint: "use a revocation list issued by a client authority",
    }];
  });
};

/** The rules about revocation lists. Without authorities, the issuer of a list cannot be checked. */
export const CRL_RULES: readonly Rule<RevocationFacts>[] = [crlStale, crlExpiring, crlForeign];
