// A stand-in of the few functions of @std/assert that the tests use, for machines that cannot reach JSR.
import nodeAssert from "node:assert/strict";

// deno-lint-ignore no-explicit-any
type Constructor<T> = abstract new (...args: any[]) => T;

export function assert(condition: unknown, message = ""): asserts condition {
  nodeAssert.ok(condition, message);
}

export function assertEquals<T>(actual: T, expected: T, message?: string): void {
  nodeAssert.deepEqual(actual, expected, message);
}

export function assertNotEquals<T>(actual: T, expected: T, message?: string): void {
  nodeAssert.notDeepEqual(actual, expected, message);
}

export function assertStrictEquals<T>(actual: unknown, expected: T, message?: string): asserts actual is T {
  nodeAssert.equal(actual, expected, message);
}

export function assertInstanceOf<T>(actual: unknown, type: Constructor<T>, message?: string): asserts actual is T {
  nodeAssert.ok(actual instanceof type, message ?? `expected an instance of ${type.name}: ${actual}`);
}

export function assertMatch(actual: string, expected: RegExp, message?: string): void {
  nodeAssert.match(actual, expected, message);
}

export function assertStringIncludes(actual: string, expected: string, message?: string): void {
  nodeAssert.ok(actual.includes(expected), message ?? `expected ${JSON.stringify(expected)} in: ${actual}`);
}

export function assertThrows<E extends Error>(fn: () => unknown, type: Constructor<E>, includes = ""): E {
  return expectError(caught(fn), type, includes);
}

export async function assertRejects<E extends Error>(
  fn: () => PromiseLike<unknown>,
  type: Constructor<E>,
  includes = "",
): Promise<E> {
  return expectError(await fn().then(() => NOTHING, (error) => error), type, includes);
}

const NOTHING = Symbol("nothing was thrown");

function caught(fn: () => unknown): unknown {
  try {
    fn();
  } catch (error) {
    return error;
  }
  return NOTHING;
}

function expectError<E extends Error>(error: unknown, type: Constructor<E>, includes: string): E {
  if (error === NOTHING) nodeAssert.fail(`expected ${type.name} to be thrown`);
  assertInstanceOf(error, type);
  assertStringIncludes(error.message, includes);
  return error;
}
