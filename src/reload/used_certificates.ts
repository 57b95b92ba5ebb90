import type { TlsConfig } from "../config/tls_config.ts";
import type { Certificate } from "../x509/certificate.ts";

/** The use of a certificate: sent as the server's own, sent with it, or trusted to issue client certificates. */
export type CertificateRole = "server" | "intermediate" | "client authority";

/** A certificate that a configuration sends or trusts. */
export interface UsedCertificate {
  readonly role: CertificateRole;
  readonly certificate: Certificate;
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
  return [...used.values()];
}
