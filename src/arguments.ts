/** Longest option name that a message quotes; a longer one is not a name. */
const MAX_NAME_LENGTH = 40;
/** How many letters a misspelt name may differ in from the one that is meant. */
const MAX_DISTANCE = 3;
/** No system takes longer paths. */
const MAX_PATH_LENGTH = 4096;
/** Starts of base64 that is the DER of a certificate or key, or PEM that was encoded once more. */
const BASE64 = /^(?:MI|MC|MG|MF|MH|LS0tLS1CRUdJTi)[A-Za-z0-9+/=]{40,}$/;

/**
 * Refuses an options object that is not one, and options that a function does not have. An option whose value is
 * `undefined` counts as absent.
 *
 * @param where The function, such as `loadTlsConfig`.
 * @param options The options that it was called with.
 * @param known The names of the options that it has.
 * @param hints For names that users bring from elsewhere: the option to use instead.
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
  for (const [name, value] of Object.entries(options as object)) {
    if (value === undefined || known.includes(name)) continue;
    // A key of an object can be anything that was mistaken for one: only what can be a name is quoted.
    const quoted = /^[\w$.-]+$/.test(name) && name.length <= MAX_NAME_LENGTH ? ` '${name}'` : "";
    const hint = Object.hasOwn(hints, name) ? hints[name] : nearestName(name, known);
    throw new TypeError(
      `Unknown option${quoted} of ${where}: ${hint ? `use ${hint}` : `known are ${known.join(", ")}`}`,
    );
  }
}

/**
 * Refuses a path that cannot be one. The value is not repeated, because callers that confuse arguments give the private
 * key itself.
 *
 * @param where The function that was called.
 * @param name The argument.
 * @param path Its value.
 * @throws {TypeError} If it is neither a non-empty string of one line nor a `URL`.
 */
export function requirePath(where: string, name: string, path: unknown): void {
  if (path instanceof URL) return;
  if (typeof path !== "string") {
    throw new TypeError(`Cannot call ${where}: '${name}' must be a path or a URL: ${kindOf(path)}`);
  }
  if (!isPath(path)) {
    throw new TypeError(`Cannot call ${where}: '${name}' is PEM text, not a path: use TlsConfig`);
  }
  if (path === "") throw new TypeError(`Cannot call ${where}: '${name}' must be a path or a URL: an empty string`);
}

/**
 * Whether a text can be a path. A text that cannot is never quoted, because it may be a private key.
 *
 * @param text The text.
 * @returns `false` for PEM, base64 of certificates and keys, several lines, and what is longer than any path.
 */
export function isPath(text: string): boolean {
  return text.length <= MAX_PATH_LENGTH && !/-----|[\r\n]|\bBEGIN [A-Z ]*(?:KEY|CERTIFICATE)/.test(text) &&
    !BASE64.test(text);
}

/** Names the kind of a value for a message, and nothing of what the value holds. */
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

function nearestName(name: string, known: readonly string[]): string | undefined {
  if (name.length > MAX_NAME_LENGTH) return undefined;
  const lower = name.toLowerCase();
  const [nearest] = known
    .map((candidate) => ({ candidate, distance: distanceBetween(lower, candidate.toLowerCase()) }))
    .filter(({ candidate, distance }) => distance <= MAX_DISTANCE && distance < candidate.length / 2)
    .sort((one, other) => one.distance - other.distance);
  return nearest?.candidate;
}

/** The Levenshtein distance: how many letters to insert, delete or replace. */
function distanceBetween(from: string, to: string): number {
  let above = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const replaced = above[column - 1]! + (from[row - 1] === to[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, above[column]! + 1, current[column - 1]! + 1));
    }
    above = current;
  }
  return above[to.length]!;
}
