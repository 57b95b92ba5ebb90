import { numberOrKind } from "./arguments.ts";

/** The longest wait of a timer of the runtimes. A longer timer fires at once. */
export const MAX_MS = 2 ** 31 - 1;

/**
 * Refuses a duration that no timer can wait.
 *
 * @throws {TypeError} If the value is neither a positive number of milliseconds up to {@linkcode MAX_MS} nor
 * `Infinity`.
 */
export function requireMs(name: string, value: number): void {
  if (typeof value === "number" && ((value > 0 && value <= MAX_MS) || value === Infinity)) return;
  throw new TypeError(
    `Cannot wait: '${name}' must be up to 2 ** 31 - 1 milliseconds, or Infinity: ${numberOrKind(value)}`,
  );
}

const UNITS = [["day", 86_400_000], ["hour", 3_600_000], ["minute", 60_000], ["second", 1_000]] as const;

/** A duration in its largest unit, rounded down: `50 days`, `1 hour`. */
export function durationText(ms: number): string {
  const [unit, unitMs] = UNITS.find(([, unitMs]) => ms >= unitMs) ?? ["second", 1_000];
  const count = Math.floor(ms / unitMs);
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}
