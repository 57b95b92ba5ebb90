import { assert, assertEquals, assertMatch } from "@std/assert";
import { Buffer } from "node:buffer";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { chmod } from "node:fs/promises";
import type { Socket } from "node:net";
import { createServer, type TlsOptions } from "node:tls";
import process from "node:process";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { runCheck } from "../../src/check.ts";
import { painter, printable } from "../../src/check/terminal.ts";
import { makeAuthority, makeLeaf } from "../support/chains.ts";
import { type TestFiles, withFiles } from "../support/files.ts";
import { type Schema, schemaFaults } from "../support/json_schema.ts";
import { general, type Made, nameOf } from "../support/made_certificates.ts";
import { portOf } from "../support/peers.ts";
import { NO_SPECIAL_FILES } from "../support/platform.ts";
import { startProgram } from "../support/programs.ts";

const ENTRY = fileURLToPath(new URL("../../src/check.ts", import.meta.url));
const SCHEMA: Schema = JSON.parse(readFileSync(new URL("../../src/check/report.schema.json", import.meta.url), "utf8"));
const ESC = "\x1b";

const root = makeAuthority("root");
const intermediate = makeAuthority("intermediate", { issuer: root });
const good = makeLeaf(intermediate);
const chainOf = (leaf: Made) => leaf.pem + intermediate.pem;
const keyOf = ({ key }: Made) => key.privateKey.export({ type: "pkcs8", format: "pem" }) as string;

async function write(files: TestFiles, leaf: Made, name = "site"): Promise<[cert: string, key: string]> {
  const key = await files.write(`${name}.key`, keyOf(leaf));
  await chmod(key, 0o600);
  return [await files.write(`${name}.crt`, chainOf(leaf)), key];
}

/** Runs the command in this process. */
async function run(args: readonly string[], hasColors = false) {
  let stdout = "";
  let stderr = "";
  const before = process.exitCode;
  const exitCode = await runCheck(args, {
    stdout: (text) => void (stdout += text),
    stderr: (text) => void (stderr += text),
    hasColors,
  });
  process.exitCode = before ?? 0;
  return { stdout, stderr, exitCode };
}

async function withServer(options: TlsOptions, body: (address: string) => Promise<void>): Promise<void> {
  const server = createServer(options);
  server.on("tlsClientError", () => {});
  const connections = new Set<Socket>();
  server.on("connection", (socket: Socket) => connections.add(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await body(`127.0.0.1:${portOf(server)}`);
  } finally {
    // Deno keeps the connection of a client that was destroyed during the handshake.
    for (const connection of connections) connection.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}

test("the command ends with 0 if all is fine, 1 at findings, 2 at what cannot be used", async () => {
  await withFiles(async (files) => {
    const pair = await write(files, good);
    const wildcard = await write(files, makeLeaf(intermediate, { names: [general.dns("*.example.com")] }), "wildcard");
    assertEquals((await run(pair)).exitCode, 0);
    assertEquals((await run([...pair, "--names", "www.example.com,mail.example.com"])).exitCode, 1);
    assertEquals((await run([...wildcard, "--fail-on", "warning"])).exitCode, 0);
    assertEquals((await run([...wildcard, "--fail-on", "note"])).exitCode, 1);
    assertEquals((await run([pair[0], wildcard[1]])).exitCode, 2);
    assertEquals((await run([files.path("missing.pem")])).exitCode, 2);
    assertEquals((await run([files.path(".")])).exitCode, 0);
    assertEquals((await run([...pair, "--roots", await files.write("roots.pem", root.pem)])).exitCode, 0);
    assertEquals((await run([...pair, "--client-ca", await files.write("ca.pem", good.pem)])).exitCode, 1);
    assertEquals((await run([...pair, "--crl", pair[0]])).exitCode, 2);
  });
});

test("the command refuses arguments that are none, with 2 and a line that shows no key", async () => {
  await withFiles(async (files) => {
    const [cert, key] = await write(files, good);
    const secret = keyOf(good).split("\n")[1]!;
    const bad = [[], ["--fail-on", "fatal", cert], ["--connect", "example.com", cert], ["--nope", cert], [key], [
      keyOf(good),
    ]];
    for (const args of bad) {
      const { exitCode, stdout, stderr } = await run(args);
      assertEquals([exitCode, stdout], [2, ""]);
      assertMatch(stderr, /^check: .+\nTry --help\.\n$/);
      assert(!stderr.includes(secret), stderr);
    }
    const help = await run(["--help"]);
    assertEquals(help.exitCode, 0);
    for (const name of ["names", "roots", "client-ca", "crl", "connect", "fail-on", "json"]) {
      assert(help.stdout.includes(`--${name}`));
    }
  });
});

test("the command prints one line a certificate with a bar of its life, and findings with hints", async () => {
  await withFiles(async (files) => {
    const [cert, key] = await write(files, makeLeaf(intermediate, { keyUsage: 0x20 }));
    const { stdout } = await run([cert, key]);
    const lines = stdout.split("\n");
    assertEquals(lines[0], cert);
    assertMatch(lines[1]!, /^ {2}█{18}░{2} 79 days left {3}\d{4}-\d\d-\d\d {2}server www\.example\.com P-256$/);
    assertMatch(lines[2]!, /^ {2}█{19}░ \d+ days left +\d{4}-\d\d-\d\d {2}intermediate CN=intermediate P-256$/);
    assertMatch(lines[3]!, /^ {2}error {3}CN=www\.example\.com: its key usage .* KEY_USAGE_WITHOUT_DIGITAL_SIGNATURE$/);
    assertMatch(lines[4]!, /^ {10}→ reissue it/);
    assertEquals(lines.slice(5), ["", "1 error, 0 warnings, 0 notes in 2 certificates", ""]);
  });
});

test("the command has colors only where it may", async () => {
  await withFiles(async (files) => {
    const pair = await write(files, makeLeaf(intermediate, { keyUsage: 0x20 }));
    assert(!(await run(pair)).stdout.includes(ESC));
    const colored = (await run(pair, true)).stdout;
    assert(colored.includes(`${ESC}[31merror`));
    // deno-lint-ignore no-control-regex -- the codes of colors
    assertEquals(colored.replace(/\x1b\[\d+m/g, ""), (await run(pair)).stdout);
    assert(!(await run([...pair, "--json"], true)).stdout.includes(ESC));
    assertEquals(painter(false)("error", "text"), "text");
  });
});

test("names in certificates and of files cannot steer the terminal", async () => {
  const hostile = "a\u202e\r\x1b[2J\x9b31m\u200b\u{e0041}";
  const leaf = makeLeaf(intermediate, {
    subject: nameOf(["2.5.4.3", Buffer.from(hostile).toString("latin1")]),
    names: [general.dns("a\x1b[2J\x9b31m.example")],
  });
  await withFiles(async (files) => {
    const [cert, key] = await write(files, leaf, "with\x1b[31mcolor");
    const { stdout } = await run([cert, key]);
    // deno-lint-ignore no-control-regex -- whatever steers a terminal
    assertEquals(stdout.match(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/g), null);
    assert(stdout.includes("\\u{1b}"));
    const json = (await run([cert, key, "--json"])).stdout;
    assertEquals(json.match(/[^\n\P{C}]/gu), null);
    const subject = `CN=${hostile.replace("\r", "\\0D").replace("\x1b", "\\1B")}`; // RFC 4514
    assertEquals(JSON.parse(json).certificates[0].subject, subject);
  });
  assertEquals(printable(hostile), "a\\u{202e}\\u{d}\\u{1b}[2J\\u{9b}31m\\u{200b}\\u{e0041}");
});

test("--json prints a report that is of the documented schema, and holds no key", async () => {
  await withFiles(async (files) => {
    const bad = await write(
      files,
      makeLeaf(intermediate, { keyUsage: 0x20, names: [general.dns("*.a.test"), general.ip(127, 0, 0, 1)] }),
    );
    const other = await write(files, good, "other");
    const clientCa = await files.write("ca.pem", root.pem);
    await withServer({ cert: good.pem, key: keyOf(good) }, async (address) => {
      const args = [
        ...bad,
        ...other,
        files.path("missing.pem"),
        "--client-ca",
        clientCa,
        "--connect",
        address,
        "--json",
      ];
      const { stdout } = await run(args);
      const report = JSON.parse(stdout);
      assertEquals(schemaFaults(report, SCHEMA), []);
      assertEquals([report.certificates.length, report.isUsable, report.served.length], [5, false, 2]);
      for (const leaf of [good]) assert(!stdout.includes(keyOf(leaf).split("\n")[1]!));
      // A schema that takes everything would show nothing.
      for (const broken of [{ ...report, findings: [{}] }, { ...report, extra: 1 }, { ...report, formatVersion: 2 }]) {
        assert(schemaFaults(broken, SCHEMA).length > 0);
      }
    });
    const { stdout } = await run([...other, "--json"]);
    assertEquals(schemaFaults(JSON.parse(stdout), SCHEMA), []);
  });
});

test("--connect compares certificate, chain and names with what a running server serves", async () => {
  await withFiles(async (files) => {
    const pair = await write(files, good);
    const served = async (options: TlsOptions, ...args: readonly string[]) => {
      const codes: string[] = [];
      await withServer(options, async (address) => {
        const { stdout } = await run([...pair, ...args, "--connect", address, "--json"]);
        const report = JSON.parse(stdout);
        for (const { severity, code } of report.findings) codes.push(`${severity} ${code}`);
        if (codes.length === 0) assertEquals(report.served[0].versions.slice(-2), ["TLSv1.2", "TLSv1.3"]);
      });
      return codes;
    };
    const key = keyOf(good);
    assertEquals(await served({ cert: chainOf(good), key }), []);
    assertEquals(await served({ cert: good.pem, key }), ["error SERVED_OTHER_CHAIN"]);
    assertEquals(await served({ cert: chainOf(good) + root.pem, key }), ["warning SERVED_OTHER_CHAIN"]);
    const another = makeLeaf(intermediate, { names: [general.dns("mail.example.com")] });
    assertEquals(await served({ cert: chainOf(another), key: keyOf(another) }, "--names", "www.example.com"), [
      "error SERVED_OTHER_CERTIFICATE",
      "error SERVED_OTHER_NAMES",
    ]);
    const old = await served({ cert: chainOf(good), key, maxVersion: "TLSv1.2" });
    assertEquals(old, ["warning SERVED_VERSION_MISSING"]);
    // Only Node speaks TLS 1.1, as a client and as a server.
    if (!process.versions["deno"] && !process.versions["bun"]) {
      const lax = await served({ cert: chainOf(good), key, minVersion: "TLSv1", ciphers: "DEFAULT@SECLEVEL=0" });
      assertEquals(lax, ["warning SERVED_VERSION_OLD"]);
    }
    const { stdout } = await run([...pair, "--connect", "127.0.0.1:1", "--json"]);
    assertEquals(JSON.parse(stdout).findings[0].code, "SERVER_UNREACHABLE");
  });
});

test("the entry is the command when it is run, with the permission to read and nothing else", async () => {
  await withFiles(async (files) => {
    const pair = await write(files, good);
    const program = startProgram(ENTRY, { args: pair, denoFlags: [`--allow-read=${files.path(".")}`] });
    assertEquals(await program.ended(), 0, program.output());
    assertMatch(program.output(), /\n0 errors, 0 warnings, 0 notes in 2 certificates\n$/);
    const failing = startProgram(ENTRY, {
      args: [...pair, "--names", "x.example"],
      denoFlags: [`--allow-read=${files.path(".")}`],
    });
    assertEquals(await failing.ended(), 1, failing.output());
  });
});

test("the command keeps its exit code if the reader of its output goes away", { skip: NO_SPECIAL_FILES }, async () => {
  await withFiles(async (files) => {
    const [cert, key] = await write(files, makeLeaf(intermediate, { keyUsage: 0x20 }));
    // More than a pipe holds.
    const list = Array(400).fill([cert, key]).flat();
    const runArgs = process.versions["deno"] ? ["run", "-A", "--no-check"] : [];
    const command = `"$0" "$@" | true; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = spawnSync("bash", ["-c", command, process.execPath, ...runArgs, ENTRY, ...list], {
      encoding: "utf8",
    });
    assertEquals([stdout, stderr], ["1\n", ""]);
  });
});

test("the command reads no more of a passphrase than one can have", { skip: NO_SPECIAL_FILES }, async () => {
  await withFiles(async (files) => {
    const pair = await write(files, good);
    const { exitCode, stderr } = await run([...pair, "--passphrase-file", "/dev/zero"]);
    assertEquals([exitCode, stderr.includes("not a regular file but a device")], [2, true]);
    assertEquals((await run([...pair, "--passphrase-file", await files.write("p", "x\n")])).exitCode, 0);
  });
});

test("the entry does nothing when it is imported, and runCheck() is the command for Node and Bun", {
  skip: Boolean(process.versions["deno"]) && "Deno runs the entry itself",
}, async () => {
  const { execFileSync } = await import("node:child_process");
  await withFiles(async (files) => {
    const pair = await write(files, good);
    const script = `import(${JSON.stringify(ENTRY)}).then((m) => m.runCheck(process.argv.slice(1)))`;
    const output = execFileSync(process.execPath, ["-e", script, "--", ...pair, "--json"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    assertEquals(schemaFaults(JSON.parse(output), SCHEMA), []);
    const quiet = execFileSync(process.execPath, ["-e", `import(${JSON.stringify(ENTRY)})`, "--", ...pair], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    assertEquals(quiet, "");
  });
});
