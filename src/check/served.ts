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

type Version = NonNullable<ConnectionOptions["minVersion"]>;
const TIMEOUT_MS = 10_000;
const VERSIONS: readonly Version[] = ["TLSv1.1", "TLSv1.2", "TLSv1.3"];

/**
 * Compares what a running server serves with a chain. Nothing of what it serves is trusted for that.
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
  const text = isIP(address.host) === 6 ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
  const finding = (
    code: ReportFinding["code"],
    severity: ReportFinding["severity"],
    message: string,
    hint: string,
  ): ReportFinding => ({ code, severity, subject: text, message, hint, source });
  let served: Certificate[];
  try {
    served = await servedBy(address, { ...(serverName !== undefined && { servername: serverName }) });
  } catch (error) {
    const hint = "look whether the server runs there and speaks TLS";
    return {
      served: undefined,
      findings: [finding("SERVER_UNREACHABLE", "error", `no handshake succeeds: ${messageOf(error)}`, hint)],
    };
  }
  const versions = await versionsOf(address, serverName);
  const findings: ReportFinding[] = [];
  const [leaf] = served;
  if (leaf?.fingerprint256 !== chain[0]!.fingerprint256) {
    const message = `it serves another certificate: "${leaf?.subject}", valid until ${leaf?.notAfter.toISOString()}`;
    findings.push(finding("SERVED_OTHER_CERTIFICATE", "error", message, "reload it, and look why it has not reloaded"));
  } else {
    const unsent = without(chain, served);
    const unknown = without(served, chain);
    if (unsent.length > 0) {
      const message = `it does not send ${unsent.map(({ subject }) => `"${subject}"`).join(", ")}`;
      findings.push(finding("SERVED_OTHER_CHAIN", "error", message, "let it read the whole chain"));
    }
    if (unknown.length > 0) {
      const message = `it sends what is not in the file: ${unknown.map(({ subject }) => `"${subject}"`).join(", ")}`;
      findings.push(finding("SERVED_OTHER_CHAIN", "warning", message, "reload it, and look why it has not reloaded"));
    }
  }
  const missing = leaf ? names.filter((each) => !coversName(leaf, each)) : [];
  if (missing.length > 0) {
    const message = `what it serves is not for ${missing.join(", ")}`;
    findings.push(finding("SERVED_OTHER_NAMES", "error", message, "look which certificate it has for the name"));
  }
  if (versions.includes("TLSv1.1")) {
    findings.push(
      finding("SERVED_VERSION_OLD", "warning", "it accepts TLS 1.1 (RFC 8996)", "set minVersion to TLSv1.2"),
    );
  }
  if (!versions.includes("TLSv1.3")) {
    findings.push(
      finding("SERVED_VERSION_MISSING", "warning", "it does not accept TLS 1.3", "set maxVersion to TLSv1.3"),
    );
  }
  const fingerprints = served.map(({ fingerprint256 }) => fingerprint256);
  return {
    served: { address: text, ...(serverName !== undefined && { serverName }), fingerprints, versions },
    findings,
  };
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

function without(certificates: readonly Certificate[], others: readonly Certificate[]): Certificate[] {
  const known = new Set(others.map(({ fingerprint256 }) => fingerprint256));
  return certificates.filter(({ fingerprint256 }) => !known.has(fingerprint256));
}
