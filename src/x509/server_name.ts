import { isIP } from "node:net";
import { domainToASCII } from "node:url";
import type { Certificate } from "./certificate.ts";

/**
 * Normalizes a name for comparison: lower case, A-labels (RFC 5890), no trailing dot; `""` if the text cannot be a DNS
 * name.
 */
export function normalizeName(name: string): string {
  // deno-lint-ignore no-control-regex -- all of ASCII
  const ascii = /^[\x00-\x7f]*$/.test(name) ? name : domainToASCII(name);
  return ascii.toLowerCase().replace(/\.$/, "");
}

/** The limit of a label is that of RFC 1035 section 2.3.4. A wildcard counts as a name. */
const NAME = /^(?:[a-z0-9_*-]{1,63}\.)*[a-z0-9_*-]{1,63}$/;

/**
 * Whether a value can be a DNS name, a wildcard or an address. Another text is never quoted, because it may be a
 * private key.
 */
export function isServerName(value: unknown): value is string {
  return typeof value === "string" && (isIP(value) > 0 || NAME.test(normalizeName(value)));
}

/** The names and addresses of a certificate. */
type Named = Pick<Certificate, "dnsNames" | "ipAddresses">;

/**
 * The names that certificates are for. A wildcard stands for one label, the first (RFC 6125 section 6.4.3). Common names
 * do not count (RFC 9525 section 2). The time of a look-up does not depend on the number of certificates.
 */
export class CoveredNames {
  readonly #dnsNames: ReadonlySet<string>;
  readonly #addresses: ReadonlySet<string>;

  constructor(certificates: readonly Named[]) {
    this.#dnsNames = new Set(certificates.flatMap(({ dnsNames }) => dnsNames.map(normalizeName)));
    this.#addresses = new Set(certificates.flatMap(({ ipAddresses }) => ipAddresses));
  }

  /** Whether a certificate is for a DNS name, a wildcard such as `*.example.com`, or an address. */
  has(name: string): boolean {
    if (isIP(name)) return this.#addresses.has(canonicalAddress(name));
    const wanted = normalizeName(name);
    if (wanted === "") return false;
    const dot = wanted.indexOf(".");
    return this.#dnsNames.has(wanted) || (dot > 0 && this.#dnsNames.has(`*${wanted.slice(dot)}`));
  }
}

/** Whether a certificate is for a name, see {@linkcode CoveredNames}. */
export function coversName(certificate: Named, name: string): boolean {
  return new CoveredNames([certificate]).has(name);
}

/** An address in the form of {@linkcode Certificate.ipAddresses}, which have no zone, such as the one in `fe80::1%eth0`. */
export function canonicalAddress(address: string): string {
  if (isIP(address) !== 6) return address;
  return new URL(`http://[${address.replace(/%.*$/, "")}]`).hostname.slice(1, -1);
}

/**
 * The name of an address, in the form of {@linkcode Certificate.ipAddresses}, in the reverse tree of the DNS (RFC 1035
 * section 3.5 and RFC 3596 section 2.5).
 */
export function reverseName(address: string): string {
  if (isIP(address) === 4) return `${address.split(".").reverse().join(".")}.in-addr.arpa`;
  const [before = [], after = []] = address.split("::").map((groups) => groups.split(":").filter((group) => group));
  const zeros = Array<string>(8 - before.length - after.length).fill("0");
  const digits = [...before, ...zeros, ...after].map((group) => group.padStart(4, "0")).join("");
  return `${[...digits].reverse().join(".")}.ip6.arpa`;
}
