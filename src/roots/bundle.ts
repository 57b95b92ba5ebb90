import { Buffer } from "node:buffer";
import { location, TlsReloadError } from "../errors.ts";
import { parsePemAt, type PemFile } from "../x509/pem.ts";
import { Root, type Roots } from "./root.ts";

const BEGIN = "-----BEGIN ";
const CERTIFICATE_BEGIN = "-----BEGIN CERTIFICATE-----\n";
const CERTIFICATE_END = "\n-----END CERTIFICATE-----";
/** OpenSSL's own form: a certificate with the limits of its trust behind it, which no list of roots can express. */
const AUXILIARY = /^-----BEGIN (?:TRUSTED|X509) CERTIFICATE-----/;
const MEANT_AS_CERTIFICATE = /CERTIFICATE/i;
const MEANT_AS_BOUNDARY = /BEGIN|END\b/i;
/** What a body may hold and base64 does not: white space, also of UTF-8, headers, and another boundary. */
const ODD = /[\s:\x80-\xff-]/;
const LINE_ENDS = ["\n", "\r"];

/**
 * Reads the certificates of a bundle one by one: what is broken is reported, and costs the others nothing.
 *
 * The lenient counterpart of `parsePem()`, which still judges whatever is not plainly a good section.
 *
 * @param bundle The file, or what stands for one.
 * @param roots Where the certificates are added that it does not hold yet.
 * @param report Called with each problem.
 * @returns How many certificates the bundle holds, known ones included.
 */
export function readBundle(bundle: PemFile, roots: Roots, report: (problem: TlsReloadError) => void): number {
  const { path, bytes } = bundle;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
  let count = 0;
  const add = (base64: string) => {
    count++;
    if (!roots.has(base64)) roots.set(base64, new Root(base64, path, count));
  };
  let [line, counted] = [1, 0];
  const lineOf = (at: number) => {
    for (let next; (next = text.indexOf("\n", counted) + 1) > 0 && next <= at; counted = next) line++;
    return line;
  };
  const parse = (start: number, end: number) => {
    try {
      const part = { path, bytes: Buffer.from(text.slice(start, end), "latin1") };
      for (const { label, der } of parsePemAt(part, lineOf(start))) {
        if (label === "CERTIFICATE") add(Buffer.from(der).toString("base64"));
      }
    } catch (problem) {
      report(problem as TlsReloadError);
    }
  };

  const auxiliary: number[] = [];
  let start = nextBegin(text, 0);
  if (start === text.length || MEANT_AS_BOUNDARY.test(text.slice(0, start))) parse(0, start);
  while (start < text.length) {
    const next = nextBegin(text, start + 1);
    const section = text.slice(start, next);
    const end = section.startsWith(CERTIFICATE_BEGIN) ? section.indexOf(CERTIFICATE_END) : -1;
    const base64 = end < 0 ? "" : section.slice(CERTIFICATE_BEGIN.length, end).replaceAll("\n", "");
    const rest = start + end + CERTIFICATE_END.length;
    const isPlain = base64 !== "" && !ODD.test(base64) && LINE_ENDS.includes(text[rest] ?? "\n");
    if (isPlain) {
      add(base64);
      if (next - rest > 1 && MEANT_AS_BOUNDARY.test(text.slice(rest, next))) parse(rest, next);
    } else {
      const [firstLine = ""] = section.split("\n", 1);
      if (AUXILIARY.test(firstLine)) auxiliary.push(start);
      else if (MEANT_AS_CERTIFICATE.test(firstLine)) parse(start, next);
    }
    start = next;
  }
  if (auxiliary.length > 0) {
    const where = { path, line: text.slice(0, auxiliary[0]).split("\n").length };
    const reason = `${auxiliary.length} in OpenSSL's own form; convert each with: openssl x509 -in FILE -out FILE.pem`;
    report(new TlsReloadError("PEM_INVALID", `Cannot read certificates${location(where)}: ${reason}`, where));
  }
  return count;
}

/** Where the next section begins. A sixth dash makes it none. */
function nextBegin(text: string, from: number): number {
  let at = text.indexOf(BEGIN, from);
  while (text[at - 1] === "-") at = text.indexOf(BEGIN, at + 1);
  return at < 0 ? text.length : at;
}
