import process from "node:process";
import type { Severity } from "../findings/finding.ts";

declare const Deno: { readonly noColor: boolean } | undefined;

/** The meaning of a color or style. */
type Tone = Severity | "good" | "strong" | "dim";

/** Colors a text, or returns it unchanged. */
export type Paint = (tone: Tone, text: string) => string;

const CODES: Readonly<Record<Tone, readonly [on: number, off: number]>> = {
  error: [31, 39],
  warning: [33, 39],
  note: [36, 39],
  good: [32, 39],
  strong: [1, 22],
  dim: [2, 22],
};

/** Whether the output is a terminal whose user has not set `NO_COLOR` (https://no-color.org). */
export function hasColors(): boolean {
  if (!process.stdout.isTTY) return false;
  // On Deno the variable cannot be read without a permission, but this can.
  if (typeof Deno !== "undefined") return !Deno.noColor;
  return !process.env["NO_COLOR"];
}

/** Makes the function that colors texts, or leaves them as they are. */
export function painter(isColored: boolean): Paint {
  if (!isColored) return (_tone, text) => text;
  return (tone, text) => `\x1b[${CODES[tone][0]}m${text}\x1b[${CODES[tone][1]}m`;
}

/** Control characters, and invisible ones, some of which change the direction of writing. */
const STEERING = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/**
 * Text that cannot steer a terminal, with escapes in place of control characters and invisible ones. Names in
 * certificates and of files may hold anything.
 */
export function printable(text: string): string {
  return text.replace(STEERING, (control) => `\\u{${control.codePointAt(0)!.toString(16)}}`);
}

/** JSON in lines that cannot steer a terminal, and is read as the same value. */
export function printableJson(value: unknown): string {
  return JSON.stringify(value, undefined, 2).replace(STEERING, (control) => {
    if (control === "\n") return control; // a control character within a string is an escape already
    return control.split("").map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`).join("");
  });
}
