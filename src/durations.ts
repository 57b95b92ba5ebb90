/** The longest wait of a timer of the runtimes. A longer timer fires at once. */
export const MAX_MS = 2 ** 31 - 1;

/**
 * Refuses a duration that no timer can wait.
 *
 * @param name The name of the option.
 * @param value The duration.
 * @throws {TypeError} If the duration is neither a positive number of milliseconds up to {@linkcode MAX_MS} nor `Infinity`.
 */
export function requireMs(name: string, value: number): void {
  if ((value > 0 && value <= MAX_MS) || value === Infinity) return;
  throw new TypeError(`Cannot wait: '${name}' must be up to 2 ** 31 - 1 milliseconds, or Infinity: ${value}`);
}
