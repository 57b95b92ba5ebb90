import { isIP } from "node:net";
import { messageOf } from "../warnings.ts";
import type { Certificate } from "../x509/certificate.ts";
import { coversName } from "../x509/server_name.ts";
import { type Address, askServer, type Served, type Version } from "./ask_server.ts";
import type { ReportFinding, ServedFacts } from "./report.ts";

/** What a server serves, and what is wrong with it. */
interface ServedReport {
  readonly served: ServedFacts | undefined;
  readonly findings: readonly ReportFinding[];
}

/** A finding about the server at the address. */
type ServedFinding = Omit<ReportFinding, "subject" | "source">;

/**
 * Compares what a running server serves with a chain. Nothing of what it serves is trusted for that.
 *
 * @param names The names that clients ask for. The first one is sent.
 */
export async function compareServed(
  chain: readonly Certificate[],
  address: Address,
  names: readonly string[],
  source: string | undefined,
): Promise<ServedReport> {
  const name = names[0] ?? firstName(chain[0]!);
  const serverName = name === undefined || isIP(name) ? undefined : name;
  const subject = addressText(address);
  const sourced = (findings: readonly ServedFinding[]) => findings.map((each) => ({ ...each, subject, source }));
  let served: Served;
  try {
    served = await askServer(address, serverName);
  } catch (error) {
    return { served: undefined, findings: sourced([unreachable(error)]) };
  }
  const fingerprints = served.chain.map(({ fingerprint256 }) => fingerprint256);
  const { versions } = served;
  return {
    served: { address: subject, ...(serverName !== undefined && { serverName }), fingerprints, versions },
    findings: sourced([
      ...chainDifferences(chain, served.chain),
      ...missingNames(served.chain[0], names),
      ...versionFindings(versions),
    ]),
  };
}

function chainDifferences(chain: readonly Certificate[], served: readonly Certificate[]): ServedFinding[] {
  const [leaf] = served;
  if (leaf?.fingerprint256 !== chain[0]!.fingerprint256) {
    return [{
      code: "SERVED_OTHER_CERTIFICATE",
      severity: "error",
      message: `serves a different certificate: "${leaf?.subject}", valid until ${leaf?.notAfter.toISOString()}`,
      hint: "reload the server, and check why it did not reload",
    }];
  }
  const [unsent, unknown] = [without(chain, served), without(served, chain)];
  const findings: ServedFinding[] = [];
  if (unsent.length > 0) {
    findings.push({
      code: "SERVED_OTHER_CHAIN",
      severity: "error",
      message: `does not send ${subjectsOf(unsent)}`,
      hint: "configure the server with the whole chain",
    });
  }
  if (unknown.length > 0) {
    findings.push({
      code: "SERVED_OTHER_CHAIN",
      severity: "warning",
      message: `sends certificates that are not in the file: ${subjectsOf(unknown)}`,
      hint: "reload the server, and check why it did not reload",
    });
  }
  return findings;
}

function missingNames(leaf: Certificate | undefined, names: readonly string[]): ServedFinding[] {
  const missing = leaf ? names.filter((name) => !coversName(leaf, name)) : [];
  return missing.length === 0 ? [] : [{
    code: "SERVED_OTHER_NAMES",
    severity: "error",
    message: `the served certificate does not cover ${missing.join(", ")}`,
    hint: "check which certificate the server has for the name",
  }];
}

function versionFindings(versions: readonly Version[]): ServedFinding[] {
  const findings: ServedFinding[] = [];
  if (versions.includes("TLSv1.1")) {
    findings.push({
      code: "SERVED_VERSION_OLD",
      severity: "warning",
      message: "accepts TLS 1.1, which is deprecated (RFC 8996)",
      hint: "set minVersion to TLSv1.2",
    });
  }
  if (!versions.includes("TLSv1.3")) {
    findings.push({
      code: "SERVED_VERSION_MISSING",
      severity: "warning",
      message: "does not accept TLS 1.3",
      hint: "set maxVersion to TLSv1.3",
    });
  }
  return findings;
}

function unreachable(error: unknown): ServedFinding {
  return {
    code: "SERVER_UNREACHABLE",
    severity: "error",
    message: `the handshake fails: ${messageOf(error)}`,
    hint: "check that a TLS server listens at this address",
  };
}

/** A wildcard is asked for by a name under it. */
function firstName({ dnsNames }: Certificate): string | undefined {
  return dnsNames[0]?.replace(/^\*\./, "check.");
}

function addressText({ host, port }: Address): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

function subjectsOf(certificates: readonly Certificate[]): string {
  return certificates.map(({ subject }) => `"${subject}"`).join(", ");
}

function without(certificates: readonly Certificate[], others: readonly Certificate[]): Certificate[] {
  const known = new Set(others.map(({ fingerprint256 }) => fingerprint256));
  return certificates.filter(({ fingerprint256 }) => !known.has(fingerprint256));
}
