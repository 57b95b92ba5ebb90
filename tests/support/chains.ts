import { Certificate } from "../../mod.ts";
import { anchorsOf, chainFactsOf } from "../../src/findings/chain_facts.ts";
import type { Finding } from "../../src/findings/finding.ts";
import { chainFindings } from "../../src/findings/findings.ts";
import {
  ecKey,
  extension,
  general,
  keyIdentifierOf,
  type Made,
  make,
  type MakeOptions,
  SERVER_AUTH,
} from "./made_certificates.ts";

export const DAY_MS = 86_400_000;
const DIGITAL_SIGNATURE = 0x80;
const KEY_CERT_SIGN_AND_CRL_SIGN = 0x06;

export interface AuthorityOptions extends MakeOptions {
  readonly pathLength?: number;
  readonly keyUsage?: number;
  /** Extensions beside those that every authority has. */
  readonly more?: readonly Uint8Array[];
}

/** An authority in the profile of RFC 5280: a root, or an intermediate if it has an issuer. */
export function makeAuthority(subject: string, options: AuthorityOptions = {}): Made {
  const { issuer, key = ecKey(), pathLength, keyUsage = KEY_CERT_SIGN_AND_CRL_SIGN, more = [] } = options;
  return make({
    subject,
    notBefore: Date.now() - 365 * DAY_MS,
    notAfter: Date.now() + 3650 * DAY_MS,
    extensions: [
      extension.basicConstraints(true, pathLength),
      extension.keyUsage(keyUsage),
      extension.subjectKeyIdentifier(keyIdentifierOf(key)),
      ...(issuer ? [extension.keyIdOf(issuer)] : []),
      ...more,
    ],
    ...options,
    key,
  });
}

export interface LeafOptions extends MakeOptions {
  readonly names?: readonly Uint8Array[];
  readonly keyUsage?: number;
  readonly purposes?: readonly string[];
  readonly isCa?: boolean;
  /** Extensions beside those that every server certificate has. */
  readonly more?: readonly Uint8Array[];
}

/** A server certificate in the profile of RFC 5280, for `www.example.com`, valid for 90 days. */
export function makeLeaf(issuer: Made | undefined, options: LeafOptions = {}): Made {
  const { key = ecKey(), names = [general.dns("www.example.com")], keyUsage = DIGITAL_SIGNATURE } = options;
  const { purposes = [SERVER_AUTH], isCa = false, more = [] } = options;
  return make({
    subject: "www.example.com",
    notBefore: Date.now() - 10 * DAY_MS,
    notAfter: Date.now() + 80 * DAY_MS,
    ...(issuer && { issuer }),
    extensions: [
      extension.basicConstraints(isCa),
      extension.keyUsage(keyUsage),
      ...(purposes.length > 0 ? [extension.extKeyUsage(...purposes)] : []),
      ...(names.length > 0 ? [extension.subjectAltName(...names)] : []),
      extension.subjectKeyIdentifier(keyIdentifierOf(key)),
      ...(issuer ? [extension.keyIdOf(issuer)] : []),
      ...more,
    ],
    ...options,
    key,
  });
}

export interface FindOptions {
  readonly roots?: readonly Made[];
  readonly names?: readonly string[];
  readonly at?: number;
}

/** What is found about a chain. */
export function findingsAbout(chain: readonly Made[], options: FindOptions = {}): Finding[] {
  const { names = [], at = Date.now(), roots } = options;
  const certificates = chain.map(({ der }) => new Certificate(der));
  const anchors = roots && anchorsOf(roots.map(({ der }) => new Certificate(der)));
  return chainFindings(chainFactsOf(certificates, { names, at, roots: anchors }), undefined);
}

/** The same, as `severity CODE`. */
export function codesAbout(chain: readonly Made[], options: FindOptions = {}): string[] {
  return findingsAbout(chain, options).map(({ severity, code }) => `${severity} ${code}`);
}
