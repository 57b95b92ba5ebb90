import { type Certificate, parseCertificates } from "../x509/certificate.ts";
import type { CertificateFacts } from "../x509/certificate_fields.ts";
import { type CertificateRevocationList, type CrlFacts, parseCrls } from "../x509/crl.ts";
import type { PemInput } from "../x509/pem.ts";
import { Revocation } from "../x509/revocation.ts";
import { trustAnchorsOf } from "../x509/trust_anchors.ts";
import type { ClientAuth, ClientAuthMode, ClientAuthOptions, StaleCrl } from "./options.ts";

/** The public facts of the client authentication of a configuration. */
export interface ClientAuthFacts {
  /** Whether a client without a certificate is refused. */
  readonly mode: ClientAuthMode;
  /** The certificate authorities that are trusted. */
  readonly ca: readonly CertificateFacts[];
  /** The revocation lists with the number of their entries, if there are any. */
  readonly crl?: readonly CrlFacts[];
  /** Present if clients of an authority without a list are refused. */
  readonly requireCrl?: true;
  /** Present if lists may be past their nextUpdate. */
  readonly staleCrl?: StaleCrl;
  /** The intermediate certificates, if any were given. */
  readonly intermediates?: readonly CertificateFacts[];
}

/** The parsed revocation lists of a configuration, which its public facts do not contain. */
interface ClientRevocation {
  readonly lists: readonly CertificateRevocationList[];
  readonly revocation: Revocation | undefined;
}

const revocations = new WeakMap<ClientAuth, ClientRevocation>();

/**
 * Reads authorities, intermediates and revocation lists, and verifies the lists. `requireSettings()` has checked the
 * options.
 *
 * @throws {TlsReloadError} The errors of `parseCertificates()`, and `CRL_INVALID` for a list that is broken, or that
 * none of the certificates has issued.
 */
export function parseClientAuth(options: ClientAuthOptions<PemInput>): ClientAuth {
  const { mode, requireCrl = false, staleCrl = "refuse" } = options;
  const ca = Object.freeze(parseCertificates(options.ca));
  const intermediates = Object.freeze(sourcesOf(options.intermediates).flatMap(parseCertificates));
  // Each once, because metrics of the same list twice would make a scrape fail.
  const byFingerprint = new Map(sourcesOf(options.crl).flatMap(parseCrls).map((list) => [list.fingerprint256, list]));
  const lists = [...byFingerprint.values()];
  const crl = Object.freeze(lists.map((list) => Object.freeze(list.toJSON())));
  const auth: ClientAuth = Object.freeze({ mode, ca, crl, requireCrl, staleCrl, intermediates });
  const revocation = lists.length > 0 || requireCrl
    ? new Revocation(lists, trustAnchorsOf([...ca, ...intermediates]), { requireCrl, staleCrl })
    : undefined;
  revocations.set(auth, { lists, revocation });
  return auth;
}

/** The verified revocation lists of a configuration; `undefined` if no client is checked for revocation. */
export function revocationOf(auth: ClientAuth | undefined): Revocation | undefined {
  return auth && revocations.get(auth)?.revocation;
}

/** The revocation lists of a configuration; `auth.crl` has their facts alone. */
export function crlsOf(auth: ClientAuth | undefined): readonly CertificateRevocationList[] {
  return auth ? revocations.get(auth)!.lists : [];
}

/** The revocation lists of a configuration in PEM. */
export function crlPemsOf(auth: ClientAuth): string[] {
  return crlsOf(auth).map(({ pem }) => pem);
}

/** Converts an option that takes one source or several to a list. An absent option is an empty list. */
export function sourcesOf<Source>(sources: Source | readonly Source[] | undefined): readonly Source[] {
  if (sources === undefined) return [];
  return Array.isArray(sources) ? sources : [sources as Source];
}

/** The public facts as a plain object. Options that have their default are left out. */
export function clientAuthFacts({ mode, ca, crl, requireCrl, staleCrl, intermediates }: ClientAuth): ClientAuthFacts {
  const factsOf = (certificates: readonly Certificate[]) => certificates.map((each) => each.toJSON());
  return {
    mode,
    ca: factsOf(ca),
    ...(crl.length > 0 && { crl }),
    ...(requireCrl && { requireCrl }),
    ...(staleCrl !== "refuse" && { staleCrl }),
    ...(intermediates.length > 0 && { intermediates: factsOf(intermediates) }),
  };
}
