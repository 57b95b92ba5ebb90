// The chains that authorities give out, public ones and those of companies, as they give them out.
import { encodeDer } from "../../src/x509/der.ts";
import { type AuthorityOptions, DAY_MS } from "./chains.ts";
import {
  CLIENT_AUTH,
  extension,
  general,
  nameOf,
  octets,
  oid,
  sequence,
  SERVER_AUTH,
  text,
} from "./made_certificates.ts";

/** A kind of key. RSA is that of 2048 bits, also where roots have 4096, which Deno takes seconds to generate. */
export type Kind = "rsa" | "p256" | "p384";
/** The names of a certificate, as in subjectAltName. */
export type Names = readonly Uint8Array[];

/** What an authority writes into a server certificate. */
export interface Profile {
  readonly purposes: readonly string[];
  /** `undefined` for a common name; empty, the subjectAltName is critical (RFC 5280 section 4.2.1.6). */
  readonly subject?: Uint8Array;
  readonly hasBasicConstraints?: boolean;
  readonly hasSubjectKeyIdentifier?: boolean;
  /** Whether the identifier of the authority's key stands beside its issuer and serial number. */
  readonly hasIssuerSerial?: boolean;
  readonly more?: readonly Uint8Array[];
}

/** What an authority gives out. */
export interface Shape {
  readonly name: string;
  /** The kinds of keys of roots, intermediates and servers. */
  readonly keys: readonly (readonly [root: Kind, intermediate: Kind, leaf: Kind])[];
  /** How long a server certificate is valid. */
  readonly lifeMs: readonly number[];
  readonly profiles: readonly Profile[];
  readonly names: readonly Names[];
  /** Whether chains end at the root, or at a certificate of the root's key by an older root. */
  readonly ends?: readonly ("root" | "cross")[];
  /** Whether the root itself issues, with no intermediate. */
  readonly isDirect?: boolean;
  readonly sendsRoot?: boolean;
  readonly intermediate?: AuthorityOptions;
}

const HOUR_MS = 3_600_000;
const now = Date.now();
const ANY_USE = 0x86;

const names = {
  one: [general.dns("www.example.com")],
  two: [general.dns("example.com"), general.dns("www.example.com")],
  wildcard: [general.dns("*.example.com"), general.dns("example.com")],
  many: Array.from({ length: 100 }, (_, index) => general.dns(`host-${index}.example.com`)),
  international: [general.dns("xn--bcher-kva.example"), general.dns("xn--bcher-kva.xn--p1ai")],
  addresses: [general.ip(192, 0, 2, 1), general.ip(0x20, 1, 0x0d, 0xb8, ...Array(11).fill(0), 1)],
  local: [general.dns("localhost"), general.ip(127, 0, 0, 1), general.ip(...Array(15).fill(0), 1)],
  cluster: [general.dns("web.default.svc"), general.dns("web.default.svc.cluster.local")],
  mesh: [general.uri("spiffe://cluster.local/ns/default/sa/web"), general.dns("web.example.com")],
} as const satisfies Readonly<Record<string, Names>>;
const PUBLIC_NAMES = [names.one, names.two, names.wildcard, names.many, names.international];
const COMPANY_NAMES = [names.one, names.addresses, names.local, names.cluster, names.mesh];

const uri = (value: string) => text(0x86, value);
const accessTo = (...methods: readonly (readonly [id: string, url: string])[]) =>
  extension.raw("1.3.6.1.5.5.7.1.1", sequence(...methods.map(([id, url]) => sequence(oid(id), uri(url)))));
const OCSP = ["1.3.6.1.5.5.7.48.1", "http://ocsp.example"] as const;
const ISSUER = ["1.3.6.1.5.5.7.48.2", "http://ca.example/issuer.crt"] as const;
const listAt = (url: string) =>
  extension.raw("2.5.29.31", sequence(sequence(encodeDer(0xa0, encodeDer(0xa0, uri(url))))));
const DOMAIN_VALIDATED = oid("2.23.140.1.2.1");
const ORGANIZATION_VALIDATED = oid("2.23.140.1.2.2");
const policies = (...each: readonly Uint8Array[]) =>
  extension.raw("2.5.29.32", sequence(...each.map((id) => sequence(id))));
const policyWithText = extension.raw(
  "2.5.29.32",
  sequence(
    sequence(DOMAIN_VALIDATED),
    sequence(
      oid("1.3.6.1.4.1.6449.1.2.2.7"),
      sequence(sequence(oid("1.3.6.1.5.5.7.2.1"), text(0x16, "https://cps.example/"))),
    ),
  ),
);
const logged = (logs: number) => extension.raw("1.3.6.1.4.1.11129.2.4.2", octets(octets(new Uint8Array(120 * logs))));

const bothPurposes = [SERVER_AUTH, CLIENT_AUTH];
const serverPurpose = [SERVER_AUTH];
const organization = nameOf(["2.5.4.6", "US", 0x13], ["2.5.4.8", "Utah"], ["2.5.4.10", "Example, Inc."], [
  "2.5.4.3",
  "example.com",
]);
const noName = nameOf();

/** With OCSP as until 2025, with lists as since then, and as short-lived certificates have it: with neither. */
const PUBLIC_PROFILES: readonly Profile[] = [
  { purposes: bothPurposes, more: [accessTo(OCSP, ISSUER), policies(DOMAIN_VALIDATED), logged(2)] },
  {
    purposes: serverPurpose,
    more: [accessTo(ISSUER), policies(DOMAIN_VALIDATED), listAt("http://ca.example/1.crl"), logged(3)],
  },
  {
    purposes: serverPurpose,
    subject: noName,
    hasSubjectKeyIdentifier: false,
    more: [accessTo(ISSUER), policies(DOMAIN_VALIDATED), logged(2)],
  },
  { purposes: bothPurposes, more: [accessTo(ISSUER, OCSP), policyWithText, logged(2)] },
];
const ORGANIZATION_PROFILES: readonly Profile[] = [
  {
    purposes: bothPurposes,
    subject: organization,
    more: [accessTo(OCSP, ISSUER), policies(ORGANIZATION_VALIDATED), listAt("http://ca.example/1.crl"), logged(3)],
  },
  {
    purposes: serverPurpose,
    subject: organization,
    more: [policyWithText, listAt("http://ca.example/2.crl"), logged(2)],
  },
  ...PUBLIC_PROFILES.slice(0, 2),
];
const provisioner = extension.raw("1.3.6.1.4.1.37476.9000.64.1", octets(new Uint8Array(40)));
/** Templates of Go, which writes basicConstraints only if it is asked to. */
const COMPANY_PROFILES: readonly Profile[] = [
  { purposes: bothPurposes, hasBasicConstraints: false },
  { purposes: serverPurpose, hasBasicConstraints: false, hasSubjectKeyIdentifier: false },
  {
    purposes: bothPurposes,
    hasBasicConstraints: false,
    more: [accessTo(ISSUER), listAt("http://vault.example/v1/pki/crl")],
  },
];

const purposes = (...ids: readonly string[]) => [extension.extKeyUsage(...ids)];
const publicIntermediate: AuthorityOptions = { pathLength: 0, keyUsage: ANY_USE, more: purposes(...bothPurposes) };

/** The authorities. */
export const SHAPES: readonly Shape[] = [
  {
    name: "Let's Encrypt E",
    keys: [["p384", "p384", "p256"], ["p384", "p384", "p384"], ["p384", "p384", "rsa"], [
      "rsa",
      "p384",
      "p256",
    ]],
    lifeMs: [90 * DAY_MS, 45 * DAY_MS, 160 * HOUR_MS],
    profiles: PUBLIC_PROFILES,
    names: [...PUBLIC_NAMES, names.addresses],
    ends: ["root", "cross"],
    intermediate: { ...publicIntermediate, more: purposes(SERVER_AUTH) },
  },
  {
    name: "Let's Encrypt R",
    keys: [["rsa", "rsa", "rsa"], ["rsa", "rsa", "p256"]],
    lifeMs: [90 * DAY_MS, 45 * DAY_MS],
    profiles: PUBLIC_PROFILES,
    names: PUBLIC_NAMES,
    ends: ["root", "cross"],
    intermediate: publicIntermediate,
  },
  {
    name: "ZeroSSL",
    keys: [["p384", "p256", "p256"], ["rsa", "rsa", "rsa"]],
    lifeMs: [90 * DAY_MS],
    profiles: PUBLIC_PROFILES,
    names: PUBLIC_NAMES,
    ends: ["root", "cross"],
    intermediate: publicIntermediate,
  },
  {
    name: "Sectigo",
    keys: [["rsa", "rsa", "rsa"], ["p384", "p256", "p256"], ["p384", "p384", "rsa"]],
    lifeMs: [199 * DAY_MS, 90 * DAY_MS],
    profiles: ORGANIZATION_PROFILES,
    names: PUBLIC_NAMES,
    ends: ["root", "cross"],
    intermediate: publicIntermediate,
  },
  {
    name: "Google Trust Services",
    keys: [["rsa", "rsa", "p256"], ["p384", "p256", "p256"], ["p384", "p256", "rsa"]],
    lifeMs: [84 * DAY_MS, 90 * DAY_MS],
    profiles: PUBLIC_PROFILES,
    names: PUBLIC_NAMES,
    ends: ["root", "cross"],
    intermediate: publicIntermediate,
  },
  {
    name: "DigiCert",
    keys: [["rsa", "rsa", "rsa"], ["p384", "p384", "p256"], ["rsa", "rsa", "rsa"]],
    lifeMs: [199 * DAY_MS, 397 * DAY_MS],
    profiles: ORGANIZATION_PROFILES,
    names: PUBLIC_NAMES,
    intermediate: publicIntermediate,
  },
  {
    name: "step-ca",
    keys: [["p256", "p256", "p256"], ["p256", "p256", "rsa"], ["rsa", "rsa", "rsa"]],
    lifeMs: [24 * HOUR_MS, 5 * 60_000, 30 * DAY_MS],
    profiles: COMPANY_PROFILES.map((profile) => ({ ...profile, more: [...profile.more ?? [], provisioner] })),
    names: COMPANY_NAMES,
    intermediate: { pathLength: 0 },
  },
  {
    name: "Vault, root alone",
    keys: [["rsa", "rsa", "rsa"], ["p256", "p256", "p256"]],
    lifeMs: [768 * HOUR_MS, 72 * HOUR_MS],
    profiles: COMPANY_PROFILES,
    names: COMPANY_NAMES,
    isDirect: true,
    sendsRoot: true,
  },
  {
    name: "Vault, intermediate",
    keys: [["rsa", "rsa", "rsa"], ["rsa", "p256", "p256"]],
    lifeMs: [768 * HOUR_MS, 24 * HOUR_MS],
    profiles: COMPANY_PROFILES,
    names: COMPANY_NAMES,
    sendsRoot: true,
  },
  {
    name: "cert-manager, CA issuer",
    keys: [["p256", "p256", "p256"], ["rsa", "rsa", "rsa"]],
    lifeMs: [90 * DAY_MS, 24 * HOUR_MS, 365 * DAY_MS],
    // It sets an empty subject, and then a critical subjectAltName.
    profiles: [{ purposes: [], subject: noName }, { purposes: serverPurpose, subject: noName }, {
      purposes: bothPurposes,
    }],
    names: COMPANY_NAMES,
    isDirect: true,
  },
  {
    name: "mkcert",
    keys: [["rsa", "rsa", "rsa"], ["rsa", "p256", "p256"]],
    lifeMs: [820 * DAY_MS],
    profiles: COMPANY_PROFILES.slice(0, 2),
    names: [names.local, names.one, names.wildcard],
    isDirect: true,
  },
  {
    name: "Caddy, internal",
    keys: [["p256", "p256", "p256"]],
    lifeMs: [12 * HOUR_MS],
    profiles: [{ purposes: bothPurposes, subject: noName, hasBasicConstraints: false }],
    names: [names.local, names.one],
    intermediate: { pathLength: 0, notBefore: now - DAY_MS, notAfter: now + 6 * DAY_MS },
  },
  {
    name: "Easy-RSA",
    keys: [["rsa", "rsa", "rsa"], ["p384", "p384", "p384"]],
    lifeMs: [825 * DAY_MS],
    profiles: [{ purposes: serverPurpose, hasIssuerSerial: true }],
    names: [names.one, names.two],
    isDirect: true,
  },
];
