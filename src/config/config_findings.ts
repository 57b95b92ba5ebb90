import { anchorsOf, chainFactsOf } from "../findings/chain_facts.ts";
import type { Finding } from "../findings/finding.ts";
import { authorityFindings, chainFindings, crlFindings } from "../findings/findings.ts";
import { uncoveredNames } from "../findings/names.ts";
import { LongTask } from "../long_task.ts";
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

/** Finds the problems that clients have with a configuration, in the order of its certified keys. Works in pieces. */
export async function findingsOf(config: TlsConfig, context: FindingContext = {}): Promise<Finding[]> {
  const { names = [], roots, at = new Date() } = context;
  const missing = uncoveredNames(config.certifiedKeys.map(({ leaf }) => leaf), names);
  const anchors = roots && anchorsOf(roots);
  const chains: Finding[] = [];
  const task = new LongTask();
  for (const [index, { chain, path }] of config.certifiedKeys.entries()) {
    await task.pause();
    // A client that asks for a name without a certificate gets the default certificate.
    const facts = { names: index === 0 ? missing : [], roots: anchors, at: +at };
    chains.push(...chainFindings(chainFactsOf(chain, facts), path));
  }
  const { ca = [], intermediates = [] } = config.clientAuth ?? {};
  const crls = crlsOf(config.clientAuth);
  return [
    ...chains,
    ...authorityFindings({ authorities: ca, at: +at }, undefined),
    ...crlFindings({ crls, authorities: [...ca, ...intermediates], at: +at }, undefined),
  ];
}
