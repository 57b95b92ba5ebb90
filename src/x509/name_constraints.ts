import { DerTag } from "./der.ts";
import { canonicalName, readName } from "./distinguished_name.ts";
import type { NameConstraints } from "./extension.ts";
import type { GeneralName } from "./general_name.ts";
import { hexOf } from "./octets.ts";
import type { PathCertificate } from "./path_certificate.ts";
import { exactText, lowerAscii } from "./string_types.ts";

/** The number of comparisons that a search for a path may still make. */
export interface ComparisonBudget {
  comparisons: number;
}

const EMAIL_ADDRESS = "2a864886f70d010901";
const COMMON_NAME = "550403";
/** The encoded identifier of SmtpUTF8Mailbox (RFC 8398), at the begin of an otherName. */
const SMTP_UTF8_MAILBOX = "06082B06010505070809";

const LABEL = "[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?";
const HOST = new RegExp(`^${LABEL}(?:\\.${LABEL})*$`, "i");
/** A common name of two labels or more counts as a DNS name, because old clients treat it as one. */
const HOST_IN_COMMON_NAME = new RegExp(`^${LABEL}(?:\\.${LABEL})+$`, "i");
/** RFC 3986 section 3: scheme, host and port. User information is not supported. */
const URI = /^[a-z][a-z0-9+.-]*:\/\/([a-z0-9_.-]+)(?::\d*)?(?:\/.*)?$/is;

/** A name or a constraint in the form for comparison. */
interface Comparable {
  readonly name: GeneralName;
  /** The DNS name, or the host of an address or a URI, in lower case. */
  readonly host: string;
  /** The relative distinguished names of a directory name. */
  readonly rdns: readonly string[];
}

/**
 * Checks a certificate against the name constraints of an authority above it (RFC 5280 section 4.2.1.10).
 *
 * @param isLeaf Whether the certificate is the client's own. If it has no DNS name, its common name counts.
 * @param budget Counted down. When it is used up, the certificate is refused.
 * @returns The reason why the constraints are violated; `undefined` if they are not.
 */
export function violationOf(
  certificate: PathCertificate,
  constraints: NameConstraints,
  { isLeaf, budget }: { readonly isLeaf: boolean; readonly budget: ComparisonBudget },
): string | undefined {
  const permitted = constraints.permitted.map((limit) => comparable(limit, hostOfLimit(limit)));
  const excluded = constraints.excluded.map((limit) => comparable(limit, hostOfLimit(limit)));
  const unusable = [...permitted, ...excluded].find((limit) => !isUsable(limit));
  if (unusable) return `a name constraint is not supported: ${unusable.name.kind}`;
  const names = namesOf(certificate, isLeaf).map((name) => comparable(name, hostOf(name)));
  budget.comparisons -= names.length * (permitted.length + excluded.length);
  if (budget.comparisons < 0) return "the name constraints are too many to be compared";
  for (const name of names) {
    const permittedOfKind = permitted.filter((limit) => isOfKind(name.name, limit.name));
    const excludedOfKind = excluded.filter((limit) => isOfKind(name.name, limit.name));
    if (permittedOfKind.length + excludedOfKind.length === 0) continue;
    if (!isComparable(name)) return `a name cannot be compared with the name constraints: ${name.name.kind}`;
    if (permittedOfKind.length > 0 && !permittedOfKind.some((limit) => liesWithin(name, limit))) {
      return `a name lies outside of the name constraints: ${name.name.kind}`;
    }
    if (excludedOfKind.some((limit) => liesWithin(name, limit))) return `a name is excluded: ${name.name.kind}`;
  }
  return undefined;
}

function comparable(name: GeneralName, host: string): Comparable {
  return { name, host: lowerAscii(host), rdns: name.kind === "directory" ? canonicalName(name.name) : [] };
}

/** The host of a name. Empty for a URI without a host that constraints support. */
function hostOf(name: GeneralName): string {
  switch (name.kind) {
    case "dns":
      return name.value;
    case "email":
      return name.value.slice(name.value.lastIndexOf("@") + 1);
    case "uri":
      return URI.exec(name.value)?.[1] ?? "";
    default:
      return "";
  }
}

/** The host of a constraint. A constraint of URIs is a host, not a URI. */
function hostOfLimit(limit: GeneralName): string {
  return limit.kind === "uri" ? limit.value : hostOf(limit);
}

/** All names of the holder of a certificate, including the mail addresses and host names in the subject. */
function namesOf({ structure: { subject }, extensions }: PathCertificate, isLeaf: boolean): GeneralName[] {
  const alternative = extensions.subjectAltNames ?? [];
  const hasDnsName = alternative.some(({ kind }) => kind === "dns");
  const attributes = readName(subject).flat();
  const names: GeneralName[] = attributes.length > 0 ? [{ kind: "directory", value: "", name: subject }] : [];
  for (const { type, value } of attributes) {
    if (type === EMAIL_ADDRESS) {
      // RFC 5280 section 4.1.2.6: an address is an IA5String. A name of another type cannot be compared.
      names.push({ kind: "email", value: value.tag === DerTag.ia5String ? exactText(value)! : "" });
    }
    if (type !== COMMON_NAME || !isLeaf || hasDnsName) continue;
    // Tried at the first zero of a run alone: at each of them, a long run would take a second.
    const text = (exactText(value) ?? "").replace(/(?<!\0)\0+$/, "");
    if (HOST_IN_COMMON_NAME.test(text) || text.includes("\0")) names.push({ kind: "dns", value: text });
  }
  return [...names, ...alternative];
}

function isOfKind(name: GeneralName, limit: GeneralName): boolean {
  if (name.kind !== "other") return name.kind === limit.kind;
  return limit.kind === "other" ? name.tag === limit.tag : limit.kind === "email" && isMailbox(name.bytes);
}

function isMailbox(bytes: Uint8Array): boolean {
  return SMTP_UTF8_MAILBOX === hexOf(bytes.subarray(0, 10));
}

/** Whether a constraint is well-formed, because a malformed one would exclude nothing. */
function isUsable({ name, host }: Comparable): boolean {
  switch (name.kind) {
    case "dns":
      return host === "" || HOST.test(host.replace(/^\./, ""));
    case "uri":
    case "email":
      return HOST.test(host.replace(/^\./, ""));
    case "ip":
      return isMasked(name.bytes);
    default:
      return true;
  }
}

/** RFC 5280 section 4.2.1.10: an address and a mask, which is a prefix as in RFC 4632. */
function isMasked(bytes: Uint8Array): boolean {
  if (bytes.length !== 8 && bytes.length !== 32) return false;
  const mask = [...bytes.subarray(bytes.length / 2)].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  return !mask.includes("01");
}

function isComparable({ name, host }: Comparable): boolean {
  switch (name.kind) {
    case "dns":
      return HOST.test(host.replace(/^\*\./, ""));
    case "email":
      return name.value.includes("@");
    case "uri":
      return !/^[\d.]*$/.test(host);
    case "ip":
      return name.value !== "";
    default:
      return name.kind === "directory";
  }
}

/** Whether a name lies within a subtree of the same kind. */
function liesWithin({ name, host, rdns }: Comparable, limit: Comparable): boolean {
  switch (name.kind) {
    case "directory":
      return limit.rdns.every((rdn, index) => rdn === rdns[index]);
    case "ip":
      return limit.name.kind === "ip" && liesInNetwork(name.bytes, limit.name.bytes);
    case "dns":
      return host === limit.host || host.endsWith(/^\.|^$/.test(limit.host) ? limit.host : `.${limit.host}`);
    case "email":
      return liesInHosts(host, limit.host) && hasLocalPart(name.value, limit.name);
    default:
      return liesInHosts(host, limit.host);
  }
}

/** A constraint is one host, or with a leading dot all hosts below it. */
function liesInHosts(host: string, limit: string): boolean {
  return limit.startsWith(".") ? host.length > limit.length && host.endsWith(limit) : host === limit;
}

/** RFC 5280 section 4.2.1.6: the local part before the `@` is compared exactly. */
function hasLocalPart(mailbox: string, limit: GeneralName): boolean {
  if (limit.kind !== "email") return false;
  const at = limit.value.lastIndexOf("@");
  return at <= 0 || limit.value.slice(0, at) === mailbox.slice(0, mailbox.lastIndexOf("@"));
}

function liesInNetwork(address: Uint8Array, network: Uint8Array): boolean {
  const { length } = address;
  return 2 * length === network.length &&
    address.every((byte, index) => ((byte ^ network[index]!) & network[length + index]!) === 0);
}
