import type { TlsConfig } from "../config/tls_config.ts";
import type { Certificate } from "../x509/certificate.ts";
import type { CrlFacts } from "../x509/crl.ts";

/**
 * The use of a certificate: sent as the server's own, sent with it, trusted to issue client certificates, or a link to
 * such an authority that clients need not send.
 */
export type CertificateRole = "server" | "intermediate" | "client authority" | "client intermediate";

/** A certificate that a configuration sends or trusts. */
export interface UsedCertificate {
  /** Its use. */
  readonly role: CertificateRole;
  /** The certificate. */
  readonly certificate: Certificate;
  /** No list. */
  readonly revocationList?: undefined;
}

/** A revocation list that a configuration looks clients up in. */
export interface UsedRevocationList {
  /** Its use. */
  readonly role: "revocation list";
  /** The list. */
  readonly revocationList: CrlFacts;
  /** No certificate. */
  readonly certificate?: undefined;
}

/** The certificates that a configuration sends or trusts, each once. */
export function usedCertificates({ certifiedKeys, clientAuth }: TlsConfig): UsedCertificate[] {
  const used = new Map<string, UsedCertificate>();
  const add = (role: CertificateRole, certificates: readonly Certificate[]) => {
    for (const certificate of certificates) {
      if (!used.has(certificate.fingerprint256)) used.set(certificate.fingerprint256, { role, certificate });
    }
  };
  add("server", certifiedKeys.flatMap(({ chain }) => chain.slice(0, 1)));
  add("intermediate", certifiedKeys.flatMap(({ chain }) => chain.slice(1)));
  add("client authority", clientAuth?.ca ?? []);
  add("client intermediate", clientAuth?.intermediates ?? []);
  return [...used.values()];
}

/** The revocation lists that a configuration uses. */
export function usedRevocationLists({ clientAuth }: TlsConfig): UsedRevocationList[] {
  return (clientAuth?.crl ?? []).map((revocationList) => ({ role: "revocation list", revocationList }));
}
