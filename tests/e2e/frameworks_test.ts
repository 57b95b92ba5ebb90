import { assert, assertEquals, assertThrows } from "@std/assert";
import { readdir, readFile } from "node:fs/promises";
import process from "node:process";
import test from "node:test";
import { issueServer } from "../support/certificates.ts";
import { withFiles } from "../support/files.ts";
import { openssl } from "../support/openssl.ts";
import { rotateProgram, SWAPS } from "../support/program_rotation.ts";
import { startProgram } from "../support/programs.ts";
import { RECIPES, rowOf, type RuntimeName } from "../support/recipes.ts";

const ROOT = new URL("../../", import.meta.url);
const NO_SIGNALS = process.platform === "win32" && "Windows has no SIGHUP";
const NO_OLD_TLS = process.versions["deno"] !== undefined && "Deno has no TLS 1.1";

/** What the documents call this runtime. */
function namesOfRuntime(): readonly RuntimeName[] {
  const { deno, bun } = process.versions;
  if (deno) return ["Deno"];
  if (!bun) return ["Node"];
  return process.platform === "linux" ? ["Bun", "Bun on Linux"] : ["Bun"];
}

/** One variable for each port of a program. */
const ANY_PORT = { PORT: "0", WEB_PORT: "0", STARTTLS_PORT: "0" };

for (const { file, runsOn, clients } of RECIPES) {
  const isForHere = namesOfRuntime().some((name) => runsOn.includes(name));
  const skip = NO_SIGNALS || !isForHere && `is for ${runsOn.join(", ")}`;
  test(`${file} drops nothing and serves nothing stale in ten swaps under load`, { skip }, async () => {
    const lists = Object.entries(clients).map(([scheme, each]) => [scheme, Object.values(each)]);
    for (const report of await rotateProgram(`examples/frameworks/${file}`, Object.fromEntries(lists), ANY_PORT)) {
      assertEquals([report.failures, report.stale, report.survived], [[], 0, SWAPS]);
      assert(report.connections.slice(1).every((count) => count > 0), String(report.connections));
    }
  });
}

test(
  "smtp_server.ts refuses TLS 1.1 with implicit TLS and after STARTTLS",
  { skip: NO_OLD_TLS },
  () =>
    withFiles(async (files) => {
      const { cert, key } = await issueServer("mail");
      const args = [await files.write("fullchain.pem", cert), await files.write("privkey.pem", key)];
      const env = { ...ANY_PORT, NODE_OPTIONS: "--tls-cipher-list=DEFAULT@SECLEVEL=0" }; // at which OpenSSL allows TLS 1.0
      const program = startProgram("examples/frameworks/smtp_server.ts", { args, env });
      try {
        for (const [scheme, flags] of [["smtps", []], ["smtp", ["-starttls", "smtp"]]] as const) {
          const [, port] = await program.line(new RegExp(`^${scheme}://localhost:(\\d+)/$`));
          const connect = (version: string) =>
            openssl(["s_client", ...flags, "-connect", `localhost:${port}`, version, "-cipher", "DEFAULT@SECLEVEL=0"]);
          connect("-tls1_2");
          assertThrows(() => connect("-tls1_1"), Error, "alert protocol version");
        }
      } finally {
        await program[Symbol.asyncDispose]();
      }
    }),
);

test("examples/frameworks/ holds the recipes, and nothing else", async () => {
  const files = await readdir(new URL("examples/frameworks/", ROOT));
  assertEquals(files.sort(), RECIPES.map(({ file }) => file));
});

test("docs/frameworks.md has a row for each recipe, as it is tested", async () => {
  const text = await readFile(new URL("docs/frameworks.md", ROOT), "utf8");
  const lines = text.split("\n").filter((line) => /^\| .*\]\(\.\.\/examples\/frameworks\//.test(line));
  const rows = lines.map((line) => line.slice(1, -1).split("|").map((cell) => cell.trim()));
  assertEquals(rows, RECIPES.map(rowOf));
});
