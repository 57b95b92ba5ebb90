/** The longest that a timer of the runtimes waits. A longer one runs out at once. */
export const MAX_MS = 2 ** 31 - 1;

/**
 * Refuses a time that no timer keeps.
 *
 * @param name The option that it was given as.
 * @param value The time.
 * @throws {TypeError} If it is neither a positive number of milliseconds up to {@linkcode MAX_MS} nor `Infinity`.
 */
export function requireMs(name: string, value: number): void {
  if ((value > 0 && value <= MAX_MS) || value === Infinity) return;
  throw new TypeError(`Cannot wait: '${name}' must be up to 2 ** 31 - 1 milliseconds, or Infinity: ${value}`);
}
