import nodeTest from "node:test";

/** The resources of the running test, closed at its end. Node 22 has no `await using`. */
export const opened = new Set<AsyncDisposable>();

/** Defines a test that closes what it has added to {@linkcode opened}. */
export function test(
  name: string,
  ...rest: [() => Promise<void>] | [{ readonly skip: string | false }, () => Promise<void>]
): void {
  const [options, body] = rest.length === 1 ? [{ skip: false as const }, rest[0]] : rest;
  nodeTest(name, options, async () => {
    try {
      await body();
    } finally {
      for (const each of opened) await each[Symbol.asyncDispose]();
      opened.clear();
    }
  });
}
