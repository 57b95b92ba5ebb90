import { connect, type ConnectionOptions, type PeerCertificate, type TLSSocket } from "node:tls";
import { Certificate } from "../x509/certificate.ts";

/** Where a server listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** What a server serves. */
export interface Served {
  /** What it sends, its own certificate first. */
  readonly chain: readonly Certificate[];
  /** The versions that it accepts, of those that this runtime can ask for. */
  readonly versions: readonly Version[];
}

/** A version of the protocol, by the name that runtimes have for it. */
export type Version = NonNullable<ConnectionOptions["minVersion"]>;
const TIMEOUT_MS = 10_000;
const VERSIONS: readonly Version[] = ["TLSv1.1", "TLSv1.2", "TLSv1.3"];

/**
 * Asks a running server, by one handshake for its chain and one for each version. Nothing of what it serves is trusted.
 *
 * @throws {Error} If the first handshake fails.
 */
export async function askServer(address: Address, servername: string | undefined): Promise<Served> {
  const options = servername === undefined ? {} : { servername };
  return { chain: await chainOf(address, options), versions: await versionsOf(address, options) };
}

async function versionsOf(address: Address, options: ConnectionOptions): Promise<Version[]> {
  const accepted: Version[] = [];
  for (const version of VERSIONS) {
    // OpenSSL offers no signature of TLS 1.1 at its default level.
    const ciphers = version === "TLSv1.1" ? { ciphers: "DEFAULT@SECLEVEL=0" } : {};
    const asked = { ...options, minVersion: version, maxVersion: version, ...ciphers };
    const protocol = await handshake(address, asked, (socket) => socket.getProtocol()).catch(() => {});
    // A runtime that ignores the option answers with another version.
    if (protocol === version) accepted.push(version);
  }
  return accepted;
}

function chainOf(address: Address, options: ConnectionOptions): Promise<Certificate[]> {
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
