import { isIP } from "node:net";
import { connect, type ConnectionOptions, type PeerCertificate, type TLSSocket } from "node:tls";
import { messageOf } from "../warnings.ts";
import { Certificate } from "../x509/certificate.ts";
import { coversName } from "../x509/server_name.ts";
import type { ReportFinding, ServedFacts } from "./report.ts";

/** Where a server listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** What a server serves, and what is wrong with it. */
export interface ServedReport {
  readonly served: ServedFacts | undefined;
  readonly findings: readonly ReportFinding[];
}

/** A finding about a server, whose address and file are added later. */
type ServedFinding = Omit<ReportFinding, "subject" | "source">;

type Version = NonNullable<ConnectionOptions["minVersion"]>;
const RELOAD = "reload it, and look why it has not reloaded";
const TIMEOUT_MS = 10_000;
const VERSIONS: readonly Version[] = ["TLSv1.1", "TLSv1.2", "TLSv1.3"];

/**
 * Compares the certificates that a running server serves with a chain. Does not verify the served certificates.
 *
 * @param chain The chain that it should serve.
 * @param address Where it listens.
 * @param names The names that clients ask for. The first one is sent.
 * @param source The file of the chain.
 * @returns What was found.
 */
export async function compareServed(
  chain: readonly Certificate[],
  address: Address,
  names: readonly string[],
  source: string | undefined,
): Promise<ServedReport> {
  const name = names[0] ?? firstName(chain[0]!);
  const serverName = name === undefined || isIP(name) ? undefined : name;
  const subject = isIP(address.host) === 6 ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
  const complete = ({ code, severity, message, hint }: ServedFinding): ReportFinding => (
    { code, severity, subject, message, hint, source }
  );
  let served: Certificate[];
  try {
    served = await servedBy(address, { ...(serverName !== undefined && { servername: serverName }) });
  } catch (error) {
    return { served: undefined, findings: [complete(unreachable(error))] };
  }
  const versions = await versionsOf(address, serverName);
  const findings = [...chainFindings(chain, served), ...nameFindings(served[0], names), ...versionFindings(versions)];
  const fingerprints = served.map(({ fingerprint256 }) => fingerprint256);
  return {
    served: { address: subject, ...(serverName !== undefined && { serverName }), fingerprints, versions },
    findings: findings.map(complete),
  };
}

function unreachable(error: unknown): ServedFinding {
  return {
    code: "SERVER_UNREACHABLE",
    severity: "error",
    message: `no handshake succeeds: ${messageOf(error)}`,
    hint: "look whether the server runs there and speaks TLS",
  };
}

function chainFindings(chain: readonly Certificate[], served: readonly Certificate[]): ServedFinding[] {
  const [leaf] = served;
  if (leaf?.fingerprint256 !== chain[0]!.fingerprint256) {
    return [{
      code: "SERVED_OTHER_CERTIFICATE",
      severity: "error",
      message: `it serves another certificate: "${leaf?.subject}", valid until ${leaf?.notAfter.toISOString()}`,
      hint: RELOAD,
    }];
  }
  const findings: ServedFinding[] = [];
  const unsent = without(chain, served);
  if (unsent.length > 0) {
    const message = `it does not send ${subjectsOf(unsent)}`;
    findings.push({ code: "SERVED_OTHER_CHAIN", severity: "error", message, hint: "let it read the whole chain" });
  }
  const unknown = without(served, chain);
  if (unknown.length > 0) {
    const message = `it sends what is not in the file: ${subjectsOf(unknown)}`;
    findings.push({ code: "SERVED_OTHER_CHAIN", severity: "warning", message, hint: RELOAD });
  }
  return findings;
}

function nameFindings(leaf: Certificate | undefined, names: readonly string[]): ServedFinding[] {
  const missing = leaf ? names.filter((name) => !coversName(leaf, name)) : [];
  if (missing.length === 0) return [];
  return [{
    code: "SERVED_OTHER_NAMES",
    severity: "error",
    message: `what it serves is not for ${missing.join(", ")}`,
    hint: "look which certificate it has for the name",
  }];
}

function versionFindings(versions: readonly Version[]): ServedFinding[] {
  const findings: ServedFinding[] = [];
  if (versions.includes("TLSv1.1")) {
    const message = "it accepts TLS 1.1 (RFC 8996)";
    findings.push({ code: "SERVED_VERSION_OLD", severity: "warning", message, hint: "set minVersion to TLSv1.2" });
  }
  if (!versions.includes("TLSv1.3")) {
    const message = "it does not accept TLS 1.3";
    findings.push({ code: "SERVED_VERSION_MISSING", severity: "warning", message, hint: "set maxVersion to TLSv1.3" });
  }
  return findings;
}

async function versionsOf(address: Address, servername: string | undefined): Promise<Version[]> {
  const accepted: Version[] = [];
  for (const version of VERSIONS) {
    const options = { minVersion: version, maxVersion: version, ...(servername !== undefined && { servername }) };
    // OpenSSL offers no signature of TLS 1.1 at its default level.
    const ciphers = version === "TLSv1.1" ? { ciphers: "DEFAULT@SECLEVEL=0" } : {};
    const protocol = await handshake(address, { ...options, ...ciphers }, (socket) => socket.getProtocol()).catch(
      () => {},
    );
    // A runtime that ignores the option answers with another version.
    if (protocol === version) accepted.push(version);
  }
  return accepted;
}

function servedBy(address: Address, options: ConnectionOptions): Promise<Certificate[]> {
  return handshake(address, options, (socket) => {
    const certificates = new Map<string, Certificate>();
    // Node orders them by issuer and leaves out those of no use; Deno and Bun give all.
    for (let each: PeerCertificate | undefined = socket.getPeerCertificate(true); each?.raw;) {
      const certificate = new Certificate(new Uint8Array(each.raw));
      if (certificates.has(certificate.fingerprint256)) break;
      certificates.set(certificate.fingerprint256, certificate);
      each = (each as { issuerCertificate?: PeerCertificate }).issuerCertificate;
    }
    return [...certificates.values()];
  });
}

async function handshake<T>(
  { host, port }: Address,
  options: ConnectionOptions,
  read: (socket: TLSSocket) => T,
): Promise<T> {
  const socket = connect({ host, port, rejectUnauthorized: false, ...options });
  try {
    return await new Promise<T>((resolve, reject) => {
      socket.once("secureConnect", () => {
        try {
          resolve(read(socket));
        } catch (error) {
          reject(error);
        }
      });
      socket.on("error", reject).once("close", () => reject(new Error("the connection was closed")));
      socket.setTimeout(TIMEOUT_MS, () => reject(new Error(`no handshake within ${TIMEOUT_MS} ms`)));
    });
  } finally {
    socket.destroy();
  }
}

/** A wildcard is asked for by a name under it. */
function firstName({ dnsNames }: Certificate): string | undefined {
  return dnsNames[0]?.replace(/^\*\./, "check.");
}

function subjectsOf(certificates: readonly Certificate[]): string {
  return certificates.map(({ subject }) => `"${subject}"`).join(", ");
}

function without(certificates: readonly Certificate[], others: readonly Certificate[]): Certificate[] {
  const known = new Set(others.map(({ fingerprint256 }) => fingerprint256));
  return certificates.filter(({ fingerprint256 }) => !known.has(fingerprint256));
}
