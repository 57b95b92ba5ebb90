import { Buffer } from "node:buffer";
import { location, TlsReloadError } from "../errors.ts";

/** One section of a PEM text: what stands between a BEGIN line and its END line. */
export interface PemSection {
  /** The label, such as `CERTIFICATE` or `PRIVATE KEY`. */
  readonly label: string;
  /** The decoded body. */
  readonly der: Uint8Array;
  /** Headers before the body, such as `Proc-Type`, which only legacy encrypted keys have (RFC 1421). */
  readonly headers: readonly string[];
  /** The line of the BEGIN boundary, counted from 1. */
  readonly line: number;
}

/** The content of a file together with its path, so that errors can name it. */
export interface PemFile {
  /** Where it was read. */
  readonly path: string;
  /** What it held. */
  readonly bytes: Uint8Array;
}

/** Where PEM comes from: text, its bytes in UTF-8, or a file that has been read. */
export type PemInput = string | Uint8Array | PemFile;

/** Any of the line ends that real files hold, also mixed. */
const LINE_END = /\r\n|\n|\r/;
/** RFC 7468 section 3: a boundary fills its line, and single spaces or hyphens join the words of its label. */
const BOUNDARY = /^-----(BEGIN|END) ((?:[!-,.-~]+(?:[ -][!-,.-~]+)*)?)-----$/;
/** Far above any label. A hostile one of megabytes would exhaust the stack of the regular expression. */
const MAX_BOUNDARY_LENGTH = 200;
/** What was meant as a boundary, in dashes of any kind. To read it as text would lose a certificate in silence. */
const BROKEN_BOUNDARY = /[\p{Dash_Punctuation}\u2212]{2}\s*(?:BEGIN|END)/u;
/** The same in small letters, where what follows is no comment either. */
const SMALL_BOUNDARY = /[\p{Dash_Punctuation}\u2212]{2}\s*(?:[Bb]egin|[Ee]nd)\s/u;
const SMALL_LABEL = /certificate|key/i;
const HEADER = /^[A-Za-z][A-Za-z0-9-]*:/;
const NOT_BASE64 = /[^A-Za-z0-9+/=\s]/;
const BASE64_LINE_LENGTH = 64;
/** A label is quoted only if it can be nothing else: it comes from a file, and what it holds may be a secret. */
const PLAIN_LABEL = /^[A-Z0-9.]{1,15}(?: [A-Z0-9.]{1,15}){0,4}$/;

/** A SEQUENCE in hexadecimal (X.690 section 8.1): its length, if that is a short one, and the start of its content. */
const DER_START = /^30(?:([0-7].)|80|81..|82.{4}|83.{6}|84.{8})(.{8})/;
/** What is often taken for PEM, by the start of that content: its name, and what makes PEM of it. */
const DER_FORMATS: readonly [RegExp, name: string, command: string][] = [
  [/^020103/, "PKCS#12", "pkcs12 -in FILE -out FILE.pem -nodes"],
  [/^0201/, "a private key in DER", "pkey -inform der -in FILE -out FILE.pem"],
  [/^06/, "PKCS#7 in DER", "pkcs7 -inform der -print_certs -in FILE -out FILE.pem"],
  [/^30..06/, "an encrypted private key in DER", "pkcs8 -inform der -in FILE -out FILE.pem"],
  [/^30/, "a certificate in DER", "x509 -inform der -in FILE -out FILE.pem"],
];

/** Makes the error for a line. */
type Invalid = (line: number | undefined, reason: string) => TlsReloadError;

/**
 * Splits PEM into its sections, in their order (RFC 7468).
 *
 * Tolerated is what real files contain: text before, between and after the sections, any line ends, also mixed, a
 * byte order mark, blank lines, white space around lines, lines of any length, a missing last newline. Everything
 * else that looks like PEM and is none is refused, so that a section is never lost in silence. Takes linear time.
 *
 * @param input The text, its bytes, or a file that has been read.
 * @returns The sections; none for a text without boundaries.
 * @throws {TlsReloadError} `PEM_INVALID`, with the line, if a section has no END, an END of another label, another
 * BEGIN in it, an empty body or one that is no base64 (RFC 4648 section 4), or if the input is UTF-16 or DER.
 *
 * @example
 * ```ts
 * import { parsePem } from "@x/tls-reload";
 *
 * const [section] = parsePem("-----BEGIN THING-----\nAQID\n-----END THING-----");
 * if (section?.label !== "THING" || section.der.length !== 3) throw new Error("unexpected");
 * ```
 */
export function parsePem(input: PemInput): PemSection[] {
  return parsePemAt(input, 1);
}

/** The same for a part of a file: its first line has a number of its own. */
export function parsePemAt(input: PemInput, firstLine: number): PemSection[] {
  const path = pathOf(input);
  const invalid: Invalid = (line, reason) =>
    new TlsReloadError("PEM_INVALID", `Cannot parse PEM${location({ path, line })}: ${reason}`, { path, line });

  const content = typeof input === "string" || input instanceof Uint8Array ? input : input.bytes;
  const foreign = foreignFormat(content);
  if (foreign) throw invalid(undefined, foreign);
  const whole = typeof content === "string" ? content : new TextDecoder().decode(content);
  const lines = whole.split(LINE_END).map((line) => line.trim());

  const sections: PemSection[] = [];
  let open: Pick<PemSection, "label" | "line"> | undefined;
  for (const [index, text] of lines.entries()) {
    const line = firstLine + index;
    const [, kind, label = ""] = (text.length <= MAX_BOUNDARY_LENGTH && BOUNDARY.exec(text)) || [];
    if (kind === "BEGIN") {
      if (open) {
        throw invalid(line, `section ${quoteLabel(open.label)} of line ${open.line} has no END before the next BEGIN`);
      }
      open = { label, line };
    } else if (kind === "END") {
      if (!open) throw invalid(line, `END of ${quoteLabel(label)} has no BEGIN`);
      if (label !== open.label) {
        throw invalid(line, `section ${quoteLabel(open.label)} of line ${open.line} ends as ${quoteLabel(label)}`);
      }
      sections.push(readSection(open, lines.slice(open.line - firstLine + 1, index), invalid));
      open = undefined;
    } else if (isBrokenBoundary(text)) {
      throw invalid(line, "a BEGIN or END needs five dashes on each side and a line of its own");
    }
  }
  if (open) throw invalid(open.line, `section ${quoteLabel(open.label)} has no END`);
  return sections;
}

/**
 * Writes a section as strict RFC 7468 text: 64 characters a line, a newline after each.
 *
 * @param section What to write.
 * @returns The text, from the BEGIN line to the newline after the END line.
 *
 * @example
 * ```ts
 * import { encodePem } from "@x/tls-reload";
 *
 * const text = encodePem({ label: "THING", der: new Uint8Array([1, 2, 3]) });
 * if (text !== "-----BEGIN THING-----\nAQID\n-----END THING-----\n") throw new Error("unexpected");
 * ```
 */
export function encodePem(section: Pick<PemSection, "label" | "der"> & Partial<Pick<PemSection, "headers">>): string {
  const { label, der, headers = [] } = section;
  const base64 = Buffer.from(der).toString("base64");
  const lines = [`-----BEGIN ${label}-----`];
  if (headers.length > 0) lines.push(...headers, "");
  for (let at = 0; at < base64.length; at += BASE64_LINE_LENGTH) lines.push(base64.slice(at, at + BASE64_LINE_LENGTH));
  lines.push(`-----END ${label}-----`, "");
  return lines.join("\n");
}

/** The path of an input, where it has one. */
export function pathOf(input: PemInput): string | undefined {
  return typeof input === "string" || input instanceof Uint8Array ? undefined : input.path;
}

/** Recognises what is often taken for PEM, and says how to make PEM of it. */
function foreignFormat(input: string | Uint8Array): string | undefined {
  const bytes = typeof input === "string"
    ? Buffer.from(input)
    : Buffer.from(input.buffer, input.byteOffset, input.length);
  const [, shortLength, content] = DER_START.exec(bytes.toString("hex", 0, 16)) ?? [];
  // A text may start with "0" as well, but not with the right length after it.
  if (content && (shortLength === undefined || parseInt(shortLength, 16) === bytes.length - 2)) {
    const format = DER_FORMATS.find(([start]) => start.test(content));
    if (format) return `this is ${format[1]}; convert it with: openssl ${format[2]}`;
  }
  // Also in the midst of a file: some shells append UTF-16 to what was UTF-8.
  if (/^(?:fffe|feff)/.test(bytes.toString("hex", 0, 2)) || bytes.includes("-\0-\0")) {
    return "this is UTF-16; save it as UTF-8";
  }
  return bytes.includes(0) ? "this is binary and no text" : undefined;
}

function isBrokenBoundary(text: string): boolean {
  const small = text.search(SMALL_BOUNDARY);
  return BROKEN_BOUNDARY.test(text) || (small >= 0 && SMALL_LABEL.test(text.slice(small)));
}

/** What stands between the boundaries: headers, if there are any, a blank line after them, and base64. */
function readSection(
  { label, line }: Pick<PemSection, "label" | "line">,
  lines: readonly string[],
  invalid: Invalid,
): PemSection {
  const start = lines.findIndex((text) => text !== "" && !HEADER.test(text));
  if (start < 0) throw invalid(line, `section ${quoteLabel(label)} is empty`);
  const headers = lines.slice(0, start).filter((text) => text !== "");
  // RFC 1421 section 4.4. What has no blank line after it is no header but a broken line of base64.
  if (headers.length > 0 && lines[start - 1] !== "") {
    throw invalid(line + 1 + start, `section ${quoteLabel(label)} needs a blank line after its headers`);
  }
  // `Buffer.from()` skips what is no base64, but only canonical base64 encodes back to itself.
  const base64 = lines.slice(start).join("").replace(/\s/g, "");
  const der = Buffer.from(base64, "base64");
  if (der.toString("base64") !== base64) {
    const bad = lines.findIndex((text, index) => index >= start && NOT_BASE64.test(text));
    throw invalid(bad < 0 ? line : line + 1 + bad, `section ${quoteLabel(label)} is no base64`);
  }
  return { label, line, headers, der: new Uint8Array(der) };
}

/** The label for a message, if it is plainly one. */
export function quoteLabel(label: string): string {
  return PLAIN_LABEL.test(label) ? `"${label}"` : "of an odd label";
}

/** Which labels a text has, each once, for a message. */
export function labelsOf(sections: readonly PemSection[]): string {
  const labels = [...new Set(sections.map(({ label }) => quoteLabel(label)))];
  return labels.length === 0 ? "no PEM" : labels.slice(0, 5).join(", ") + (labels.length > 5 ? ", …" : "");
}
