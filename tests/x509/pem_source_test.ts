import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { spawn, spawnSync } from "node:child_process";
import { chmod, open, readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import test from "node:test";
import { pathToFileURL } from "node:url";
import { loadTlsConfig } from "../../mod.ts";
import { readPemSource } from "../../src/x509/pem_source.ts";
import { issueServer } from "../support/certificates.ts";
import { type TestFiles, withFiles } from "../support/files.ts";
import { assertRefused } from "../support/refusals.ts";

const SKIP = process.platform === "win32" && "Windows has no FIFO among its files";

function makeFifo(files: TestFiles, name: string): string {
  const path = files.path(name);
  assertEquals(spawnSync("mkfifo", [path]).status, 0);
  return path;
}

test("readPemSource() reads a regular file, also by its URL, of which only its owner may read", () =>
  withFiles(async (files) => {
    const path = await files.write("credential", "hello");
    await chmod(path, 0o400);
    for (const each of [path, pathToFileURL(path)]) {
      assertEquals(await readPemSource(each), { path, bytes: new Uint8Array(Buffer.from("hello")) });
    }
    await assertRefused(() => readPemSource(files.path("missing")), "FILE_NOT_FOUND", { path: files.path("missing") });
    await assertRefused(() => readPemSource("/dev/zero"), "FILE_UNREADABLE", { path: "/dev/zero" });
  }));

test(
  "readPemSource() waits for the writer of a FIFO, and reads what it writes in pieces",
  { skip: SKIP },
  () =>
    withFiles(async (files) => {
      const path = makeFifo(files, "fifo");
      const reading = readPemSource(path);
      const writer = await open(path, "w");
      const pieces = ["one", "two".repeat(20_000), "three"];
      for (const piece of pieces) await writer.write(piece);
      await writer.close();
      assertEquals(Buffer.from((await reading).bytes).toString(), pieces.join(""));
    }),
);

test("readPemSource() reads a FIFO only up to the limit", { skip: SKIP }, () =>
  withFiles(async (files) => {
    const path = makeFifo(files, "fifo");
    const refused = assertRefused(() => readPemSource(path, { maxBytes: 5 }), "FILE_TOO_LARGE", { path });
    await writeFile(path, "123456");
    await refused;
  }));

test(
  "readPemSource() rejects after ten seconds for a FIFO without a writer",
  { skip: SKIP },
  () =>
    withFiles(async (files) => {
      const path = makeFifo(files, "fifo");
      const message = /: nothing was written to it within 10000 ms$/;
      await assertRefused(() => readPemSource(path), "FILE_UNREADABLE", { path, message });
    }),
);

test(
  "loadTlsConfig() loads certificate and key once from one FIFO, or from two",
  { skip: SKIP },
  () =>
    withFiles(async (files) => {
      const { cert, key } = await issueServer("fifo");
      const one = makeFifo(files, "one");
      const [config] = await Promise.all([loadTlsConfig(one, one), writeFile(one, cert + key)]);
      assertEquals(config.leaf.subject, "CN=fifo");
      const two = makeFifo(files, "two");
      const loading = loadTlsConfig(one, two);
      await writeFile(one, cert);
      await writeFile(two, key);
      assertEquals((await loading).leaf.subject, "CN=fifo");
    }),
);

const CHILD = `
  const { loadTlsConfig } = await import(process.env.MOD);
  console.log((await loadTlsConfig("/dev/stdin", "/dev/stdin")).leaf.subject);
`;

/** What starts the child on this runtime. */
async function childArgs(files: TestFiles): Promise<string[]> {
  const child = await files.write("child.mjs", `import process from "node:process";${CHILD}`);
  const { deno, bun } = process.versions;
  return [...(deno ? ["run", "-A"] : bun ? [] : ["--no-warnings"]), child];
}

/** What a child prints that gets this as its standard input. */
async function printed(command: string, args: readonly string[], input?: string): Promise<string> {
  const env = { ...process.env, MOD: new URL("../../mod.ts", import.meta.url).href };
  const child = spawn(command, args, { env, stdio: [input === undefined ? "ignore" : "pipe", "pipe", "inherit"] });
  let output = "";
  child.stdout!.setEncoding("utf8").on("data", (text) => output += text);
  child.stdin?.end(input);
  await new Promise((resolve) => child.once("close", resolve));
  return output;
}

test(
  "loadTlsConfig() loads /dev/stdin from a pipe, from a file, and from a socket",
  { skip: SKIP },
  () =>
    withFiles(async (files) => {
      const { cert, key } = await issueServer("stdin");
      const path = await files.write("both.pem", cert + key);
      const args = await childArgs(files);
      const shell = (script: string) => printed("bash", ["-c", script, "bash", path, process.execPath, ...args]);
      assertEquals(await shell('cat "$1" | "${@:2}"'), "CN=stdin\n");
      assertEquals(await shell('"${@:2}" < "$1"'), "CN=stdin\n");
      // Node gives its children a socket.
      assertEquals(await printed(process.execPath, args, cert + key), "CN=stdin\n");
    }),
);

test("loadTlsConfig() loads the process substitutions of a shell", { skip: SKIP }, () =>
  withFiles(async (files) => {
    const { cert, key } = await issueServer("substitution");
    const [certPath, keyPath] = [await files.write("cert.pem", cert), await files.write("key.pem", key)];
    const [child, ...rest] = (await childArgs(files)).reverse();
    await writeFile(child!, CHILD.replace('"/dev/stdin", "/dev/stdin"', "...process.argv.slice(2)"), { flag: "w" });
    await writeFile(child!, `import process from "node:process";${(await readFile(child!)).toString()}`);
    const script = '"${@:3}" <(cat "$1") <(cat "$2")';
    const args = ["-c", script, "bash", certPath, keyPath, process.execPath, ...rest.reverse(), child!];
    assertEquals(await printed("bash", args), "CN=substitution\n");
  }));
