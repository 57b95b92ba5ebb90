import { isIP } from "node:net";
import { domainToASCII } from "node:url";
import type { Certificate } from "./certificate.ts";

/**
 * Normalizes a name for comparison: lower case, A-labels (RFC 5890), no trailing dot.
 *
 * @param name A DNS name or an address.
 * @returns The normalized name; `""` if the text cannot be a DNS name.
 */
export function normalizeName(name: string): string {
  // deno-lint-ignore no-control-regex -- all of ASCII
  const ascii = /^[\x00-\x7f]*$/.test(name) ? name : domainToASCII(name);
  return ascii.toLowerCase().replace(/\.$/, "");
}

/**
 * Whether a certificate is for a name. A wildcard stands for one label, the first (RFC 6125 section 6.4.3).
 *
 * @param certificate The certificate. Its common name does not count (RFC 9525 section 2).
 * @param name A DNS name, a wildcard such as `*.example.com`, or an address.
 */
export function coversName(
  { dnsNames, ipAddresses }: Pick<Certificate, "dnsNames" | "ipAddresses">,
  name: string,
): boolean {
  if (isIP(name)) return ipAddresses.includes(canonicalAddress(name));
  const wanted = normalizeName(name);
  if (wanted === "") return false;
  const dot = wanted.indexOf(".");
  const wildcard = dot > 0 ? `*${wanted.slice(dot)}` : wanted;
  return dnsNames.map(normalizeName).some((each) => each === wanted || each === wildcard);
}

function canonicalAddress(address: string): string {
  return isIP(address) === 6 ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address;
}
