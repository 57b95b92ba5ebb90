import { anchorsOf, chainFactsOf } from "../findings/chain_facts.ts";
import type { Finding } from "../findings/finding.ts";
import { authorityFindings, chainFindings, crlFindings } from "../findings/findings.ts";
import { uncoveredNames } from "../findings/names.ts";
import type { Certificate } from "../x509/certificate.ts";
import { crlsOf } from "./client_auth.ts";
import type { TlsConfig } from "./tls_config.ts";

/** The circumstances in which clients meet a configuration. */
interface FindingContext {
  /** The names that clients ask for. */
  readonly names?: readonly string[] | undefined;
  /** The roots that clients trust. */
  readonly roots?: Iterable<Certificate> | undefined;
  /** The moment. */
  readonly at?: Date | undefined;
}

/** Finds the problems that clients have with a configuration, in the order of its certified keys. */
export function findingsOf(config: TlsConfig, context: FindingContext = {}): Finding[] {
  const { names = [], roots, at = new Date() } = context;
  const missing = uncoveredNames(config.certifiedKeys.map(({ leaf }) => leaf), names);
  const chains = config.certifiedKeys.flatMap(({ chain, path }, index) => {
    // A client that asks for a name without a certificate gets the default certificate.
    const facts = { names: index === 0 ? missing : [], roots: roots && anchorsOf(roots), at: +at };
    return chainFindings(chainFactsOf(chain, facts), path);
  });
  const { ca = [], intermediates = [] } = config.clientAuth ?? {};
  const crls = crlsOf(config.clientAuth);
  return [
    ...chains,
    ...authorityFindings({ authorities: ca, at: +at }, undefined),
    ...crlFindings({ crls, authorities: [...ca, ...intermediates], at: +at }, undefined),
  ];
}
