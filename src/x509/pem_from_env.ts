import { Buffer } from "node:buffer";
import { TlsReloadError } from "../errors.ts";
import { derFormatOf } from "./foreign_format.ts";
import { encodePem, parsePem } from "./pem.ts";

const QUOTED = /^(["'])([^]*)\1$/;
const BASE64 = /^[A-Za-z0-9+/\s]+={0,2}\n$/;

/**
 * Reads PEM from the value of an environment variable, in the usual forms: with newlines, with `\n` as two characters,
 * with CRLF, in quotes, or as base64 of PEM or DER.
 *
 * Files are never read in this way. In a file, such text is broken PEM.
 *
 * @param value The value of the variable.
 * @returns The same PEM with newlines, for {@linkcode TlsConfig}.
 * @throws {TlsReloadError} `PEM_INVALID` if the value holds no PEM. The message does not quote the value.
 * @throws {TypeError} If the value is not a string, for example because the variable is not set.
 *
 * @example
 * ```ts
 * import { pemFromEnv } from "@x/tls-reload";
 *
 * const pem = pemFromEnv('"-----BEGIN THING-----\\nAQID\\n-----END THING-----\\n"');
 * if (pem !== "-----BEGIN THING-----\nAQID\n-----END THING-----\n") throw new Error("unexpected");
 * ```
 */
export function pemFromEnv(value: string): string {
  if (typeof value !== "string") {
    throw new TypeError(`Cannot read PEM from the environment: 'value' must be a string: ${typeof value}`);
  }
  const text = withNewlines(value);
  const whole = BASE64.test(text) ? fromBase64(text) : text;
  if (parsePem(whole).length > 0) return whole;
  throw new TlsReloadError("PEM_INVALID", "Cannot read PEM from the environment: it holds no BEGIN line");
}

/** Decodes base64 of PEM or DER. A PEM file without its BEGIN and END lines is base64 of DER. */
function fromBase64(text: string): string {
  const bytes = Buffer.from(text, "base64");
  const label = derFormatOf(bytes)?.label;
  if (label !== undefined) return encodePem({ label, der: bytes });
  const decoded = bytes.toString("utf8");
  return decoded.includes("BEGIN") ? withNewlines(decoded) : text;
}

/** Removes quotes, then replaces escaped newlines, which are common in quotes. */
function withNewlines(value: string): string {
  const [, , inner = value.trim()] = QUOTED.exec(value.trim()) ?? [];
  return `${inner.replace(/\\r\\n|\\n|\r\n|\r/g, "\n").trim()}\n`;
}
