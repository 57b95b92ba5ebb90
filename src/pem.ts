import { Buffer } from "node:buffer";
import { location, TlsReloadError } from "./errors.ts";

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
/** RFC 7468 section 3: a boundary fills its line; the label has single hyphens only. */
const BOUNDARY = /^-----(BEGIN|END) ((?:[^-]|-(?!-))*)-----$/;
/** What was meant as a boundary. To read it as explanatory text would lose a certificate in silence. */
const BROKEN_BOUNDARY = /[-\u2010-\u2015]{2}\s*(?:BEGIN|END)\b/i;
const HEADER = /^[A-Za-z][A-Za-z0-9-]*:/;
const NOT_BASE64 = /[^A-Za-z0-9+/=\s]/;
const BASE64_LINE_LENGTH = 64;

/** A section whose END has not been seen yet. */
interface OpenSection {
  readonly label: string;
  readonly line: number;
  readonly headers: string[];
  readonly body: string[];
  bodyLine: number;
}

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
  const path = pathOf(input);
  const invalid = (line: number | undefined, reason: string) =>
    new TlsReloadError("PEM_INVALID", `Cannot parse PEM${location({ path, line })}: ${reason}`, { path, line });

  const sections: PemSection[] = [];
  let open: OpenSection | undefined;
  const bytesOrText = typeof input === "string" || input instanceof Uint8Array ? input : input.bytes;
  const foreign = foreignFormat(bytesOrText);
  if (foreign) throw invalid(undefined, foreign);
  const lines = (typeof bytesOrText === "string" ? bytesOrText : new TextDecoder().decode(bytesOrText)).split(LINE_END);
  for (const [index, untrimmed] of lines.entries()) {
    const text = untrimmed.trim();
    const line = index + 1;
    const [, kind, label = ""] = BOUNDARY.exec(text) ?? [];
    if (kind === "BEGIN") {
      if (open) {
        throw invalid(line, `section ${quote(open.label)} of line ${open.line} has no END before the next BEGIN`);
      }
      open = { label, line, headers: [], body: [], bodyLine: line };
    } else if (kind === "END") {
      if (!open) throw invalid(line, `END of ${quote(label)} has no BEGIN`);
      if (label !== open.label) {
        throw invalid(line, `section ${quote(open.label)} of line ${open.line} ends as ${quote(label)}`);
      }
      const der = decodeBase64(open.body);
      if (der === undefined) throw invalid(badLine(open), `section ${quote(label)} is no base64`);
      if (der.length === 0) throw invalid(open.line, `section ${quote(label)} is empty`);
      sections.push({ label, line: open.line, headers: open.headers, der });
      open = undefined;
    } else if (BROKEN_BOUNDARY.test(text)) {
      throw invalid(line, "a BEGIN or END needs five dashes on each side and a line of its own");
    } else if (open) {
      if (open.body.length > 0) open.body.push(text);
      else if (HEADER.test(text)) open.headers.push(text);
      else if (text !== "") {
        open.body.push(text);
        open.bodyLine = line;
      }
    }
  }
  if (open) throw invalid(open.line, `section ${quote(open.label)} has no END`);
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
  const utf16 = "this is UTF-16 or binary; save it as UTF-8";
  if (typeof input === "string") return input.slice(0, 64).includes("\0") ? utf16 : undefined;
  const [first = 0, second = 0] = input;
  // What DER starts with: a SEQUENCE whose length takes more than one byte (X.690 section 8.1.3).
  if (first === 0x30 && second > 0x80 && second < 0x85) {
    return "this is DER; convert it with: openssl x509 -inform der -in FILE -out FILE.pem";
  }
  const byteOrderMark = (first << 8) | second;
  return byteOrderMark === 0xfeff || byteOrderMark === 0xfffe || input.subarray(0, 64).includes(0) ? utf16 : undefined;
}

/** Strict base64: `Buffer.from()` skips what is none, but only canonical base64 encodes back to itself. */
function decodeBase64(lines: readonly string[]): Uint8Array | undefined {
  const base64 = lines.join("").replace(/\s/g, "");
  const bytes = Buffer.from(base64, "base64");
  return bytes.toString("base64") === base64 ? new Uint8Array(bytes) : undefined;
}

function badLine({ line, body, bodyLine }: OpenSection): number {
  const offset = body.findIndex((text) => NOT_BASE64.test(text));
  return offset < 0 ? line : bodyLine + offset;
}

/** A label comes from a file: only a short one belongs into an error. */
function quote(label: string): string {
  return JSON.stringify(label.length > 40 ? `${label.slice(0, 40)}…` : label);
}
