import { Buffer } from "node:buffer";

/** A section of a text. */
interface ScannedSection {
  readonly label: string;
  readonly der: Uint8Array;
  /** The body as one line of base64. */
  readonly base64: string;
  readonly headers: readonly string[];
  readonly line: number;
  /** Whether the BEGIN line begins with spaces or tabs. OpenSSL ignores such sections. */
  readonly isIndented: boolean;
}

/** A broken line or section of a text. */
interface PemFault {
  readonly line: number;
  readonly reason: string;
}

/** A section whose END has not been reached yet. */
interface OpenSection {
  readonly label: string;
  readonly line: number;
  readonly isIndented: boolean;
  readonly lines: string[];
}

/** RFC 7468 section 3: a boundary fills its line, and single spaces or hyphens join the words of its label. */
const BOUNDARY = /^-----(BEGIN|END) ((?:[!-,.-~]+(?:[ -][!-,.-~]+)*)?)-----$/;
/** Longer than any boundary. A hostile label of megabytes would exhaust the stack of the regular expression. */
const MAX_BOUNDARY_LENGTH = 200;
/** Five dashes of any kind, because word processors replace hyphens, directly before an upper-case BEGIN or END. */
const BROKEN_BOUNDARY = /^[\p{Dash_Punctuation}\u2212]{5}(?:BEGIN|END)(?:\s|$)/u;
/** Two dashes or more before BEGIN or END, and one of the labels that certificate and key files use. */
const BROKEN_KNOWN_BOUNDARY =
  /^[\p{Dash_Punctuation}\u2212\s]*[\p{Dash_Punctuation}\u2212]{2}\s*(?:BEGIN|END)\s*(?:(?:X\.?509 |TRUSTED |NEW )?CERTIFICATE(?: REQUEST)?|(?:ENCRYPTED |RSA |EC |DSA |OPENSSH )?PRIVATE KEY|(?:RSA )?PUBLIC KEY|X509 CRL|PKCS ?#?7|CMS|(?:EC|DH|DSA) PARAMETERS)\s*(?:[\p{Dash_Punctuation}\u2212]|$)/iu;
/** A section holds no free text, so a boundary at the end of a line of the body counts as well. */
const BROKEN_BOUNDARY_IN_BODY = /[\p{Dash_Punctuation}\u2212]{2}\s*(?:BEGIN|END)/u;
const NOT_A_BOUNDARY = "a BEGIN or END needs five dashes on each side and a line of its own";
/** Zero-width characters, which editors do not show. */
const INVISIBLE = /^\p{Format}+/u;
const HEADER = /^[A-Za-z][A-Za-z0-9-]*:/;
const NOT_BASE64 = /[^A-Za-z0-9+/=\s]/;
/** Only a usual label is quoted, because a broken file may have a secret in place of a label. */
const PLAIN_LABEL = /^[A-Z0-9.]{1,15}(?: [A-Z0-9.]{1,15}){0,4}$/;

/**
 * Finds the sections of a PEM text and its faults, in their order. Takes linear time.
 *
 * Ignores text outside of sections, including sections that are commented out. After a fault, ignores all lines up to
 * the next BEGIN or END, so that one broken section is one fault.
 */
export function* scanPem(text: string): Generator<ScannedSection | PemFault, void> {
  let open: OpenSection | undefined;
  let isRecovering = false;
  let line = 0;
  for (const raw of linesOf(text)) {
    line++;
    const content = raw.trim();
    const boundary = boundaryIn(content);
    if (!boundary) {
      if (open) {
        open.lines.push(content);
      } else if (!isRecovering && isBrokenBoundary(content)) {
        yield { line, reason: NOT_A_BOUNDARY };
        isRecovering = true;
      }
      continue;
    }
    const [, kind, label = ""] = boundary;
    if (kind === "BEGIN") {
      if (open) yield faultOf(open, { line, reason: `${nameOf(open)} has no END before the next BEGIN` });
      open = { label, line, isIndented: /^[ \t]/.test(raw), lines: [] };
    } else {
      if (open) yield closeSection(open, label, line);
      else if (!isRecovering) yield { line, reason: `END of ${quoteLabel(label)} has no BEGIN` };
      open = undefined;
    }
    isRecovering = false;
  }
  if (open) yield faultOf(open, { line: open.line, reason: `section ${quoteLabel(open.label)} has no END` });
}

/** Reads a section at an END line. */
function closeSection(section: OpenSection, label: string, line: number): ScannedSection | PemFault {
  if (label === section.label) return readSection(section);
  return faultOf(section, { line, reason: `${nameOf(section)} ends as ${quoteLabel(label)}` });
}

function nameOf({ label, line }: OpenSection): string {
  return `section ${quoteLabel(label)} of line ${line}`;
}

/** Quotes a label for a message if it looks like a usual label. */
export function quoteLabel(label: string): string {
  return PLAIN_LABEL.test(label) ? `"${label}"` : "of an odd label";
}

/** Splits a text at LF, CRLF and CR, also mixed. */
function* linesOf(text: string): Generator<string, void> {
  for (let start = 0; start <= text.length;) {
    const newline = text.indexOf("\n", start);
    const end = newline < 0 ? text.length : newline;
    const line = text.slice(start, end > start && text[end - 1] === "\r" ? end - 1 : end);
    if (line.includes("\r")) yield* line.split("\r");
    else yield line;
    start = end + 1;
  }
}

function boundaryIn(line: string): RegExpExecArray | null {
  return line.startsWith("-----") && line.length <= MAX_BOUNDARY_LENGTH ? BOUNDARY.exec(line) : null;
}

function isBrokenBoundary(line: string): boolean {
  // All dashes except the hyphen and all invisible characters lie beyond ASCII.
  if (!line.startsWith("-") && !(line.charCodeAt(0) > 0x7f)) return false;
  const start = line.slice(0, MAX_BOUNDARY_LENGTH).replace(INVISIBLE, "");
  return BROKEN_BOUNDARY.test(start) || BROKEN_KNOWN_BOUNDARY.test(start);
}

/**
 * The fault of a section: a broken boundary in its body, which is the likely cause of other faults, or the given one.
 */
function faultOf({ line, lines }: OpenSection, other: PemFault): PemFault {
  const index = lines.findIndex((text) => BROKEN_BOUNDARY_IN_BODY.test(text) && !HEADER.test(text));
  return index < 0 ? other : { line: line + 1 + index, reason: NOT_A_BOUNDARY };
}

/** Reads optional headers with a blank line after them, then base64. */
function readSection(section: OpenSection): ScannedSection | PemFault {
  const { label, line, isIndented, lines } = section;
  const name = `section ${quoteLabel(label)}`;
  const start = lines.findIndex((text) => text !== "" && !HEADER.test(text));
  if (start < 0) return { line, reason: `${name} is empty` };
  const headers = lines.slice(0, start).filter((text) => text !== "");
  // RFC 1421 section 4.4: a blank line ends the headers.
  if (headers.length > 0 && lines[start - 1] !== "") {
    return faultOf(section, { line: line + 1 + start, reason: `${name} needs a blank line after its headers` });
  }
  const base64 = lines.slice(start).join("").replace(/\s/g, "");
  const der = Buffer.from(base64, "base64");
  // `Buffer.from()` skips characters that are not base64. Only canonical base64 encodes back to itself.
  if (der.toString("base64") === base64) return { label, line, isIndented, headers, der: new Uint8Array(der), base64 };
  const bad = lines.findIndex((text, index) => index >= start && NOT_BASE64.test(text));
  return faultOf(section, { line: bad < 0 ? line : line + 1 + bad, reason: `${name} is not base64` });
}
