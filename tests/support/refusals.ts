import { assertEquals, assertInstanceOf, assertMatch } from "@std/assert";
import { TlsReloadError, type TlsReloadErrorCode } from "../../mod.ts";
import { assertHidesSecrets } from "./secrets.ts";

/** What an error must say besides its code. */
export interface Refusal {
  readonly line?: number | undefined;
  readonly path?: string | undefined;
  readonly message?: RegExp | undefined;
}

/** Asserts that something is refused with an error of ours, which shows no secret. */
export async function assertRefused(
  attempt: () => unknown,
  code: TlsReloadErrorCode,
  { line, path, message = /^Cannot / }: Refusal = {},
): Promise<TlsReloadError> {
  const error = await (async () => await attempt())().then(() => undefined, (error: unknown) => error);
  assertInstanceOf(error, TlsReloadError, `expected a TlsReloadError with ${code}: ${error}`);
  assertEquals(error.code, code, error.message);
  assertMatch(error.message, message);
  assertEquals([error.path, error.line], [path, line], error.message);
  assertHidesSecrets(error);
  return error;
}
