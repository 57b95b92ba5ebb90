import { nearestName } from "./nearest_name.ts";

/** The longest option name that a message quotes. */
const MAX_NAME_LENGTH = 40;
/** The longest path that any system supports. */
const MAX_PATH_LENGTH = 4096;
/** Five dashes are part of a path only in an A-label, such as `xn-----8kcbxdsd0agf`. */
const PEM_PART = /(?:^|[^a-z0-9])-----|-----(?:BEGIN|END)|[\r\n]|\bBEGIN [A-Z ]*(?:KEY|CERTIFICATE)/;
/** The begin of base64 of a certificate or a key in DER, or of PEM. */
const BASE64 = /^(?:MI|MC|MG|MF|MH|LS0tLS1CRUdJTi)[A-Za-z0-9+/=]{40,}$/;

/**
 * Refuses a value that is not an options object, and unknown options. An option with the value `undefined` counts as
 * absent.
 *
 * @param hints The option to use instead, by names that users know from other APIs.
 * @throws {TypeError} Such as `Unknown option 'requestCert' of loadTlsConfig: use clientAuth`.
 */
export function requireOptions(
  where: string,
  options: unknown,
  known: readonly string[],
  hints: Readonly<Record<string, string>> = {},
): void {
  if (kindOf(options) !== "an object") {
    throw new TypeError(`Cannot call ${where}: its options must be an object: ${kindOf(options)}`);
  }
  for (const name of Object.keys(options as object)) {
    if (known.includes(name) || (options as Readonly<Record<string, unknown>>)[name] === undefined) continue;
    // The key may be a secret in the wrong place, so it is quoted only if it looks like a name.
    const quoted = /^[\w$.-]+$/.test(name) && name.length <= MAX_NAME_LENGTH ? ` '${name}'` : "";
    const hint = Object.hasOwn(hints, name) ? hints[name] : nearestName(name, known);
    throw new TypeError(
      `Unknown option${quoted} of ${where}: ${hint ? `use ${hint}` : `known are ${known.join(", ")}`}`,
    );
  }
}

/**
 * Refuses options that a function does not have although it passes others on to the runtime.
 *
 * @param refused What to use instead, by the names of these options.
 * @throws {TypeError} Such as `Unknown option 'cert' of serve: use TlsConfig`.
 */
export function refuseOptions(where: string, options: unknown, refused: Readonly<Record<string, string>>): void {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`Cannot call ${where}: its options must be an object: ${kindOf(options)}`);
  }
  for (const [name, alternative] of Object.entries(refused)) {
    if ((options as Readonly<Record<string, unknown>>)[name] === undefined) continue;
    throw new TypeError(`Unknown option '${name}' of ${where}: use ${alternative}`);
  }
}

/** What an argument must be. A signal of another realm or of a polyfill is one too. */
const IS_OF_TYPE = {
  "a function": (value: unknown) => typeof value === "function",
  "a boolean": (value: unknown) => typeof value === "boolean",
  "a string": (value: unknown) => typeof value === "string",
  "a number": (value: unknown) => typeof value === "number",
  "an AbortSignal": (value: unknown) => typeof (value as AbortSignal | null)?.addEventListener === "function",
};

/**
 * Refuses an argument of the wrong type.
 *
 * @throws {TypeError} Such as `Cannot call Reloader: 'load' must be a function: a string`.
 */
export function requireType(where: string, name: string, value: unknown, type: keyof typeof IS_OF_TYPE): void {
  if (IS_OF_TYPE[type](value)) return;
  throw new TypeError(`Cannot call ${where}: '${name}' must be ${type}: ${kindOf(value)}`);
}

/**
 * Refuses options of the wrong type. An option with the value `undefined` counts as absent.
 *
 * @throws {TypeError} The error of {@linkcode requireType}.
 */
export function requireOptionTypes(
  where: string,
  options: object,
  types: Readonly<Record<string, keyof typeof IS_OF_TYPE>>,
): void {
  for (const name of Object.keys(types)) {
    const value = (options as Readonly<Record<string, unknown>>)[name];
    if (value !== undefined) requireType(where, name, value, types[name]!);
  }
}

/**
 * Refuses a value that cannot be a path. The error does not quote the value, because a caller that confuses the
 * arguments passes the private key itself.
 *
 * @throws {TypeError} If the value is neither a non-empty string of one line nor a `URL`.
 */
export function requirePath(where: string, name: string, path: unknown): void {
  if (path instanceof URL) return;
  if (typeof path !== "string") {
    const hint = path instanceof Uint8Array ? ", not a path: use TlsConfig" : "";
    throw new TypeError(`Cannot call ${where}: '${name}' must be a path or a URL: ${kindOf(path)}${hint}`);
  }
  if (!isPath(path)) {
    throw new TypeError(`Cannot call ${where}: '${name}' is PEM text, not a path: use TlsConfig`);
  }
  if (path === "") throw new TypeError(`Cannot call ${where}: '${name}' must be a path or a URL: an empty string`);
}

/**
 * Whether a text can be a path. Another text is never quoted, because it may be a private key.
 *
 * @returns `false` for PEM, base64 of certificates and keys, several lines, and a text that is longer than any path.
 */
export function isPath(text: string): boolean {
  return text.length <= MAX_PATH_LENGTH && !PEM_PART.test(text) && !BASE64.test(text);
}

/** Names the kind of a value for a message, without its content. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value !== "object") return `a ${typeof value}`;
  if (Array.isArray(value)) return "an array";
  const prototype = Object.getPrototypeOf(value);
  if (prototype === null || prototype === Object.prototype) return "an object";
  const name = value.constructor?.name;
  if (name === "Object") return "an object"; // of another realm
  return typeof name === "string" && /^[\w$]{1,40}$/.test(name) ? `a ${name}` : "an instance of a class";
}

/**
 * Names the kind of a value that should be an object of one of this module's classes, and the usual mistake.
 *
 * @param value The value.
 * @param className The name of the class.
 * @returns Such as `a Promise, which must be awaited`.
 */
export function kindInPlaceOf(value: unknown, className: "TlsConfig" | "TlsState"): string {
  const kind = kindOf(value);
  if (value instanceof Promise) return `${kind}, which must be awaited`;
  if (kind === `a ${className}`) return `${kind} of another copy of this module`;
  return kind;
}

/** A number for a message. Of another value only its kind is named, because it may be a secret in the wrong place. */
export function numberOrKind(value: unknown): string {
  return typeof value === "number" ? String(value) : kindOf(value);
}
