import "reflect-metadata"; // what @peculiar/x509 needs before it
import * as x509 from "@peculiar/x509";
import { Buffer } from "node:buffer";
import { webcrypto } from "node:crypto";

/** A certificate made for a test, with its key. */
export interface Issued {
  /** The chain in PEM: the certificate, then the intermediates it was issued through. */
  readonly cert: string;
  /** The key as plain PKCS#8 PEM. */
  readonly key: string;
  readonly certificate: x509.X509Certificate;
  readonly keys: CryptoKeyPair;
  /** SHA-256 in the form of `getPeerCertificate().fingerprint256`. */
  readonly fingerprint256: string;
}

export interface IssueOptions {
  readonly issuer?: Issued;
  readonly isCa?: boolean;
  readonly names?: readonly x509.JsonGeneralName[];
  readonly algorithm?: "P-256" | "P-384" | "RSA" | "Ed25519";
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  readonly extendedKeyUsage?: readonly x509.ExtendedKeyUsage[];
  /** Those of another certificate, in place of new ones. */
  readonly keys?: CryptoKeyPair;
  /** The only domain that an authority may issue for (RFC 5280 section 4.2.1.10). */
  readonly permitted?: string;
  /** The digest of the key authorization that the certificate answers an ACME challenge with (RFC 8737 section 3). */
  readonly acmeIdentifier?: Uint8Array;
}

const HOUR_MS = 3_600_000;
const ALGORITHMS = {
  "P-256": { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  "P-384": { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" },
  "RSA": { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", publicExponent: new Uint8Array([1, 0, 1]), modulusLength: 2048 },
  "Ed25519": { name: "Ed25519" },
};

x509.cryptoProvider.set(webcrypto as Crypto);
let serial = 1;

/** Issues a certificate: self-signed, or by a certificate that was issued before. */
export async function issue(commonName: string, options: IssueOptions = {}): Promise<Issued> {
  const { issuer, isCa = false, names = [{ type: "dns", value: "localhost" }], algorithm = "P-256" } = options;
  const signing = ALGORITHMS[algorithm];
  const keys = options.keys ??
    await webcrypto.subtle.generateKey(signing, true, ["sign", "verify"]) as CryptoKeyPair;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: (serial++).toString(16).padStart(4, "0"),
    subject: `CN=${commonName}`,
    issuer: issuer?.certificate.subject ?? `CN=${commonName}`,
    notBefore: options.notBefore ?? new Date(Date.now() - HOUR_MS),
    notAfter: options.notAfter ?? new Date(Date.now() + HOUR_MS),
    publicKey: keys.publicKey,
    signingKey: issuer?.keys.privateKey ?? keys.privateKey,
    signingAlgorithm: issuer ? { ...issuer.keys.privateKey.algorithm, hash: "SHA-256" } : signing,
    extensions: [
      new x509.BasicConstraintsExtension(isCa, undefined, true),
      new x509.SubjectAlternativeNameExtension([...names]),
      ...(options.extendedKeyUsage ? [new x509.ExtendedKeyUsageExtension([...options.extendedKeyUsage])] : []),
      ...(options.permitted ? [nameConstraints(options.permitted)] : []),
      ...(options.acmeIdentifier ? [acmeExtension(options.acmeIdentifier)] : []),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey));
  const isIntermediate = issuer !== undefined && issuer.certificate.subject !== issuer.certificate.issuer;
  const fingerprint = Buffer.from(await certificate.getThumbprint("SHA-256")).toString("hex").toUpperCase();
  return {
    cert: `${certificate.toString("pem")}\n` + (isIntermediate ? issuer.cert : ""),
    key: `${x509.PemConverter.encode(pkcs8, "PRIVATE KEY")}\n`,
    certificate,
    keys,
    fingerprint256: fingerprint.match(/../g)!.join(":"),
  };
}

function nameConstraints(domain: string): x509.Extension {
  const wrap = (tag: number, content: Uint8Array) => Buffer.concat([Buffer.of(tag, content.length), content]);
  const subtrees = wrap(0x30, wrap(0xa0, wrap(0x30, wrap(0x82, Buffer.from(domain)))));
  return new x509.Extension("2.5.29.30", true, new Uint8Array(subtrees));
}

function acmeExtension(digest: Uint8Array): x509.Extension {
  return new x509.Extension("1.3.6.1.5.5.7.1.31", true, new Uint8Array([4, digest.length, ...digest]));
}

/** A certificate authority. */
export function issueCa(commonName: string, options: IssueOptions = {}): Promise<Issued> {
  return issue(commonName, { ...options, isCa: true });
}

/** A server certificate for localhost, by its own authority if none is given. */
export function issueServer(commonName: string, options: IssueOptions = {}): Promise<Issued> {
  const names = [{ type: "dns", value: "localhost" }, { type: "ip", value: "127.0.0.1" }] as const;
  return issue(commonName, { names, ...options });
}

/** A server certificate and its key, and nothing else: what a `TlsConfig` takes. */
export async function issuePair(commonName: string): Promise<{ cert: string; key: string }> {
  const { cert, key } = await issueServer(commonName);
  return { cert, key };
}

/** A client certificate. */
export function issueClient(commonName: string, options: IssueOptions = {}): Promise<Issued> {
  return issue(commonName, { extendedKeyUsage: [x509.ExtendedKeyUsage.clientAuth], ...options });
}
