import { assert, assertEquals, assertInstanceOf, assertMatch } from "@std/assert";
import { readdirSync, readFileSync } from "node:fs";
import test from "node:test";
import { inspect } from "node:util";
import { TlsReloadError } from "../mod.ts";
import { location } from "../src/errors.ts";

const SOURCE = new URL("../src/", import.meta.url);
const read = (file: string) => readFileSync(new URL(file, SOURCE), "utf8");

/** The codes as the type declares them; types do not exist when tests run. */
function declaredCodes(): string[] {
  const [, union = ""] = /export type TlsReloadErrorCode =([^;]*);/.exec(read("errors.ts")) ?? [];
  return [...union.matchAll(/"(\w+)"/g)].map(([, code = ""]) => code);
}

test("TlsReloadErrorCode documents each code, in the same order", () => {
  const documented = [...read("errors.ts").matchAll(/^ \* \| `(\w+)` \|/gm)].map(([, code]) => code);
  assert(documented.length > 10);
  assertEquals(documented, declaredCodes());
});

test("TlsReloadErrorCode holds no code that nothing raises", () => {
  const files = readdirSync(SOURCE, { recursive: true, encoding: "utf8" });
  const sources = files.filter((file) => file.endsWith(".ts") && file !== "errors.ts").map(read).join();
  assertEquals(declaredCodes().filter((code) => !sources.includes(`"${code}"`)), []);
});

test("TlsReloadError is an Error with a code, a cause, a path and a line", () => {
  const cause = new Error("underneath");
  const error = new TlsReloadError("PEM_INVALID", "Cannot parse PEM", { cause, path: "chain.pem", line: 3 });
  assertInstanceOf(error, Error);
  assertEquals([error.name, error.message], ["TlsReloadError", "Cannot parse PEM"]);
  assertEquals([error.code, error.cause, error.path, error.line], ["PEM_INVALID", cause, "chain.pem", 3]);
  assertEquals(String(error), "TlsReloadError: Cannot parse PEM");
  assertMatch(error.stack ?? "", /^TlsReloadError: Cannot parse PEM\n/);
  assertEquals(JSON.parse(JSON.stringify(error)), { code: "PEM_INVALID", path: "chain.pem", line: 3 });
});

test("TlsReloadError has no path, line or cause by default", () => {
  const error = new TlsReloadError("UNSUPPORTED", "Cannot");
  // The errors of JavaScriptCore are born with the line of the source that made them.
  assertEquals([error.path, error.line, error.cause], [undefined, undefined, undefined]);
  assert(!("cause" in error));
  assertEquals(JSON.parse(JSON.stringify(error)), { code: "UNSUPPORTED" });
  assert(!inspect(error).includes("undefined"));
});

test("TlsReloadError lets others derive from it", () => {
  class Derived extends TlsReloadError {
    constructor() {
      super("UNSUPPORTED", "Cannot");
      this.name = "Derived";
    }
  }
  assertEquals(String(new Derived()), "Derived: Cannot");
  assertEquals(String(new TlsReloadError("UNSUPPORTED", "Cannot")), "TlsReloadError: Cannot");
});

test("location() names the path and the line that are known", () => {
  assertEquals(location({}), "");
  assertEquals(location({ line: 3 }), " at line 3");
  assertEquals(location({ path: "chain.pem" }), ' in "chain.pem"');
  assertEquals(location({ path: "chain.pem", line: 3 }), ' in "chain.pem" at line 3');
});
