import { assert } from "@std/assert";
import { Buffer } from "node:buffer";
import { createPrivateKey } from "node:crypto";
import { inspect } from "node:util";

type Inspect = (value: unknown, options?: object) => string;

/** How many characters of a secret in a row are a leak. */
const WINDOW = 16;
const { Deno, Bun } = globalThis as { Deno?: { inspect: Inspect }; Bun?: { inspect: Inspect } };
/**
 * What must not be seen anywhere: every window of every secret, in every form that it could be seen in. Bun runs all
 * files in one process, so what is secret in one of them is secret in all.
 */
const secrets = new Set<string>();

/** Declares a text to be secret: a passphrase, or the body of a PEM that shares no part with a certificate. Gives it back. */
export function secret(text: string): string {
  const body = text.replace(/-----[^-]*-----|^[A-Za-z-]+:.*$/gm, "").replace(/\s/g, "");
  assert(body.length >= WINDOW, "a secret so short cannot be told from chance");
  for (let at = 0; at + WINDOW <= body.length; at++) secrets.add(body.slice(at, at + WINDOW));
  return text;
}

/** Declares the private numbers of a plain key to be secret, as hexadecimal, and as base64 at any offset. Gives it back. */
export function secretKey(pem: string): string {
  const { d, p, q, dp, dq, qi } = createPrivateKey(pem).export({ format: "jwk" });
  for (const number of [d, p, q, dp, dq, qi].filter((each) => each !== undefined)) {
    const bytes = Buffer.from(number, "base64url");
    secret(bytes.toString("hex"));
    for (const offset of [0, 1, 2]) {
      const end = bytes.length - (bytes.length - offset) % 3;
      secret(bytes.subarray(offset, end).toString("base64"));
      secret(bytes.subarray(offset, end).toString("base64url"));
    }
  }
  return pem;
}

/** Asserts that nothing that prints or serialises a value shows a declared secret. */
export function assertHidesSecrets(value: unknown): void {
  for (const [view, shown] of Object.entries(viewsOf(value))) {
    // Of a buffer that hides itself a structured clone is one that does not.
    const text = view === "structuredClone()"
      ? []
      : bytesIn(shown.replace(/\s/g, "")).map((list) => list.toString("latin1"));
    assert(![shown, ...text].some(holdsSecret), `${view} shows a secret`);
  }
}

/** Asserts the same of what `console.log` and its like show of an object that leads to half of the runtime. */
export function assertPrintsNoSecret(value: unknown): void {
  for (const options of [{}, { depth: 12, showHidden: true }]) {
    for (const show of [inspect as Inspect, Deno?.inspect, Bun?.inspect]) {
      assert(!show || !holdsSecret(show(value, options)), "printing it shows a secret");
    }
  }
}

/** Asserts the same of `console.dir()`, which passes over what objects show of themselves. */
export function assertListsNoSecret(value: unknown): void {
  for (const depth of [2, 5]) {
    const shown = inspect(value, { customInspect: false, depth });
    const texts = bytesIn(shown.replace(/\s/g, "")).map((list) => list.toString("latin1"));
    assert(![shown, ...texts].some(holdsSecret), "console.dir() shows a secret");
  }
}

function viewsOf(value: unknown): Record<string, string> {
  const everything = { showHidden: true, depth: Infinity, maxArrayLength: null, maxStringLength: null };
  return {
    "String()": String(value),
    "JSON.stringify()": JSON.stringify(value) ?? "",
    "util.inspect()": inspect(value),
    "util.inspect() of everything": inspect(value, everything),
    "util.inspect() of everything and getters": inspect(value, { ...everything, getters: true }),
    "structuredClone()": inspect(cloneOf(value), everything),
    "Deno.inspect()":
      Deno?.inspect(value, { showHidden: true, depth: 100, iterableLimit: 1e6, strAbbreviateSize: 1e6 }) ??
        "",
    "Bun.inspect()": Bun?.inspect(value, { depth: 100 }) ?? "",
    ...(value instanceof Error && { "error.stack": String(value.stack) }),
    ...(value instanceof Error && value.cause !== undefined && { "error.cause": viewsText(value.cause) }),
  };
}

function viewsText(value: unknown): string {
  return Object.values(viewsOf(value)).join("\n");
}

function cloneOf(value: unknown): unknown {
  try {
    return structuredClone(value);
  } catch {
    return undefined;
  }
}

/** The lists of bytes in a text. */
function bytesIn(text: string): Buffer[] {
  const lists = text.matchAll(/\d{1,3}(?:,\d{1,3}){7,}/g);
  return [...lists].map(([list]) => Buffer.from(list.split(",").map(Number)));
}

function holdsSecret(shown: string): boolean {
  const joined = shown.replace(/'\s*\+\s*'|"\s*\+\s*"|\\[nr]|\s/g, "");
  const bytes = bytesIn(joined).map((list) => list.toString("hex"));
  const hexadecimal = joined.toLowerCase().replace(/[^0-9a-f]/g, "");
  return [shown, joined, hexadecimal, ...bytes].some((text) => {
    for (let at = 0; at < text.length; at++) {
      if (secrets.has(text.slice(at, at + WINDOW))) return true;
    }
    return false;
  });
}
