/** Shown in place of a private key. */
export const HIDDEN_KEY = "[private key]";
/** Shown in place of a context that holds a private key. */
export const HIDDEN_CONTEXT = "[secure context]";

/**
 * Replaces an object in the output of `console.log`, `util.inspect`, `Deno.inspect`, `Bun.inspect` and
 * `JSON.stringify`, at any depth.
 */
export function showAs<T extends object>(target: T, shown: (this: T) => unknown): T {
  const denoInspect = function (this: T, inspect: (value: unknown, options: unknown) => string, options: unknown) {
    return inspect(shown.call(this), options);
  };
  return Object.defineProperties(target, {
    toJSON: { value: shown, configurable: true },
    [Symbol.for("nodejs.util.inspect.custom")]: { value: shown, configurable: true },
    [Symbol.for("Deno.customInspect")]: { value: denoInspect, configurable: true },
  });
}
