import { Buffer } from "node:buffer";
import { kindOf, requireType } from "../arguments.ts";
import { location, TlsReloadError } from "../errors.ts";
import { derFormatOf, foreignFormat } from "./foreign_format.ts";
import { quoteLabel, scanPem } from "./pem_scanner.ts";

/** One section of a PEM text: the part from a BEGIN line to its END line. */
export interface PemSection {
  /** The label, such as `CERTIFICATE` or `PRIVATE KEY`. */
  readonly label: string;
  /** The decoded body. */
  readonly der: Uint8Array;
  /** The headers before the body, such as `Proc-Type`. Only legacy encrypted keys have headers (RFC 1421). */
  readonly headers: readonly string[];
  /** The line of the BEGIN boundary, counted from 1. */
  readonly line: number;
}

/** The content of a file together with its path, so that errors can name it. */
export interface PemFile {
  /** The path that the file was read from. */
  readonly path: string;
  /** The content. */
  readonly bytes: Uint8Array;
}

/** An input that holds PEM: text, its bytes in UTF-8, or a file that has been read. */
export type PemInput = string | Uint8Array | PemFile;

const BASE64_LINE_LENGTH = 64;
/** A path of a file that may hold PEM, which a caller may take for its content. */
const PATH = /^\S{1,1000}\.(?:pem|crt|cer|cert|crl|key)$/;
/** The labels of a certificate (RFC 7468 section 5.1). OpenSSL reads both. */
const CERTIFICATE_LABELS: ReadonlySet<string> = new Set(["CERTIFICATE", "X509 CERTIFICATE"]);

/**
 * Splits PEM into its sections, in their order (RFC 7468). Takes linear time.
 *
 * Accepts the variations of real files: any line ends, also mixed, a byte order mark, blank lines, white space around
 * lines, lines of any length, a missing last newline. Ignores text outside of sections: comments, banners,
 * `Bag Attributes`, and sections that are commented out. Never ignores a section silently: a recognisable but broken
 * BEGIN or END line is an error, and so is a section without indentation after an indented one.
 *
 * @param input The text, its bytes, or a file that has been read.
 * @returns The sections; an empty list for a text without boundaries.
 * @throws {TlsReloadError} `PEM_INVALID`, with the line, if a section has no END, an END of another label, a BEGIN
 * inside, an empty body, or a body that is not base64 (RFC 4648 section 4), or if the input is UTF-16 or DER.
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
  const content = inputContent(input);
  const invalid = (reason: string, line?: number) =>
    new TlsReloadError("PEM_INVALID", `Cannot parse PEM${location({ path, line })}: ${reason}`, { path, line });

  const foreign = foreignFormat(content);
  if (foreign) throw invalid(foreign);
  const sections: PemSection[] = [];
  let indented: number | undefined;
  for (const found of scanPem(decodeUtf8(content))) {
    if ("reason" in found) throw invalid(found.reason, found.line);
    const { label, der, headers, line, isIndented } = found;
    // OpenSSL ignores the indented section, so it would serve another certificate than this module.
    if (indented !== undefined && !isIndented) throw invalid(`the section of line ${indented} is indented`, line);
    if (isIndented) indented ??= line;
    sections.push({ label, der, headers, line });
  }
  return sections;
}

/**
 * Reads PEM, or a file in DER that holds one certificate, key or revocation list. DER counts as a section at line 0.
 *
 * @throws {TlsReloadError} `PEM_INVALID`.
 */
export function readSections(input: PemInput): PemSection[] {
  const content = inputContent(input);
  const label = typeof content === "string" ? undefined : derFormatOf(content)?.label;
  if (label === undefined) return parsePem(input);
  return [{ label, der: new Uint8Array(content as Uint8Array), headers: [], line: 0 }];
}

/** The file and the line of a section, for an error. */
export function placeOf(input: PemInput, { line }: PemSection): { path: string | undefined; line: number | undefined } {
  return { path: pathOf(input), line: line || undefined };
}

/**
 * Writes a section as strict RFC 7468 text: lines of 64 characters, each with a newline.
 *
 * @param section The section.
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
  requireType("encodePem", "label", Object(section).label, "a string");
  const { label, der, headers = [] } = section;
  const base64 = Buffer.from(der).toString("base64");
  const lines = [`-----BEGIN ${label}-----`];
  if (headers.length > 0) lines.push(...headers, "");
  for (let at = 0; at < base64.length; at += BASE64_LINE_LENGTH) lines.push(base64.slice(at, at + BASE64_LINE_LENGTH));
  lines.push(`-----END ${label}-----`, "");
  return lines.join("\n");
}

/** Whether sections with this label hold a certificate. */
export function isCertificateLabel(label: string): boolean {
  return CERTIFICATE_LABELS.has(label);
}

/** The path of an input, if the input is a file. */
export function pathOf(input: PemInput): string | undefined {
  return (input as Partial<PemFile> | null | undefined)?.path;
}

/** Decodes UTF-8. Bytes of other encodings become replacement characters. */
export function decodeUtf8(content: string | Uint8Array): string {
  return typeof content === "string" ? content : new TextDecoder().decode(content);
}

/**
 * The text or the bytes of an input.
 *
 * @throws {TypeError} If the input is something else.
 */
export function inputContent(input: PemInput): string | Uint8Array {
  const content = typeof input === "string" || input instanceof Uint8Array ? input : Object(input).bytes;
  if (typeof content === "string" || content instanceof Uint8Array) return content;
  throw new TypeError(`Cannot read PEM: the input must be text, its bytes, or a file that was read: ${kindOf(input)}`);
}

/**
 * Says for a message what was found in place of what was looked for: the labels, each once; without sections, whether
 * the input is the path of a file.
 */
export function contentOf(input: PemInput, sections: readonly PemSection[]): string {
  const labels = [...new Set(sections.map(({ label }) => quoteLabel(label)))];
  if (labels.length > 0) return labels.slice(0, 5).join(", ") + (labels.length > 5 ? ", …" : "");
  return typeof input === "string" && PATH.test(input) ? "no PEM but a path; loadTlsConfig() reads files" : "no PEM";
}
