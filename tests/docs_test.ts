import { assert, assertEquals, assertMatch } from "@std/assert";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, rename, symlink } from "node:fs/promises";
import { createServer } from "node:http";
import process from "node:process";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { TlsState } from "../mod.ts";
import { issueCa, issueClient, type Issued, issueServer } from "./support/certificates.ts";
import { type TestFiles, withFiles } from "./support/files.ts";
import { HttpConnection } from "./support/http.ts";
import { identityServer } from "./support/identity_server.ts";
import { configOf, dial, visit } from "./support/peers.ts";
import { freePort } from "./support/ports.ts";
import { type Program, startProgram } from "./support/programs.ts";

const ROOT = new URL("../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, ROOT), "utf8");
const { deno, bun } = process.versions;
const HERE = deno ? "Deno" : bun ? "Bun" : "Node";
const NOT_HERE = `names other runtimes than ${HERE}`;
const NO_SIGNALS = process.platform === "win32" && "Windows has no SIGHUP";
/** What replaces the published module on Deno. Bun and Node find it in node_modules. */
const DENO_FLAGS = ["--no-config", "--import-map", fileURLToPath(new URL("std/import_map.json", import.meta.url))];

const [ca, first, second] = await Promise.all([issueCa("clients CA"), issueServer("first"), issueServer("second")]);
const client = await issueClient("somebody", { issuer: ca });

/** A program of a document, with its ports replaced by free ones. */
interface Running extends Program {
  readonly ports: readonly number[];
  readonly files: TestFiles;
}

/** What the text says of each program, in the order of the document. */
type Check = (program: Running) => Promise<void>;
const CHECKS: Readonly<Record<string, readonly (readonly [heading: string, check: Check])[]>> = {
  "README.md": [
    ["Node", greetsAndWatches],
    ["Deno", async (program) => {
      const [http = 0, echo = 0] = program.ports;
      await listening(http);
      await listening(echo);
      const connection = await HttpConnection.open(http);
      assertMatch((await connection.ask("/")).text, /^hello [\d.:a-f]+\n$/);
      await renew(program.files, second);
      await serves(http, second);
      await serves(echo, second);
      assertEquals((await connection.ask("/")).status, 200);
      connection.close();
      const socket = await dial(echo);
      socket.write("echo");
      assertEquals(String(await new Promise((resolve) => socket.once("data", resolve))), "echo");
      socket.destroy();
    }],
    ["Bun", greetsClientAndWatches],
    ["Any server that accepts sockets", greetsAndWatches],
    ["Trusted roots, for clients", printsRoots],
  ],
  "MIGRATING.md": [
    ["From `setSecureContext()` by hand", ({ ports: [port = 0] }) => greets(port)],
    ["From `setSecureContext()` by hand", greetsAndWatches],
    ["From restarting at each renewal", async (program) => {
      const [port = 0] = program.ports;
      await greets(port);
      await renew(program.files, { ...second, key: first.key });
      program.kill("SIGHUP");
      await program.line(/^tls-reload reject code=KEY_MISMATCH /);
      await greets(port);
      await renew(program.files, second);
      program.kill("SIGHUP");
      await serves(port, second);
    }],
    ["From nginx or Caddy in front", async ({ ports: [port = 0] }) => {
      const headers = { "x-forwarded-for": "192.0.2.1", connection: "close" };
      const ask = () => fetch(`http://127.0.0.1:${port}/`, { headers }).then((answer) => answer.text(), () => "");
      await until("the server behind the proxy answers", async () => await ask() === "hello 192.0.2.1\n");
    }],
    ["From nginx or Caddy in front", greetsClientAndWatches],
    ["From `greenlock`", greetsAndWatches],
    ["From the watchers of `@grpc/grpc-js`", watches],
    ["From the watchers of `@grpc/grpc-js`", watches],
    ["From `listhen`", ({ ports: [port = 0] }) => greets(port)],
    ["From `listhen`", greetsAndWatches],
    ["From `tls.Server` with client certificates", letsInClientsOf("hello")],
    ["From `tls.Server` with client certificates", letsInClientsOf("hello CN=somebody")],
  ],
  "docs/operations.md": [
    ["systemd", async (program) => {
      const [port = 0] = program.ports;
      await greets(port);
      await renew(program.files, second);
      program.kill("SIGHUP");
      await program.line(/^tls-reload swap names=localhost/);
      await serves(port, second);
    }],
    ["Kubernetes", async ({ ports: [port = 0], files }) => {
      await greets(port);
      await renewBundle(files, second);
      await serves(port, second);
    }],
  ],
  "docs/sources.md": [
    ["Sources", async ({ ports: [source = 0, port = 0], files, line }) => {
      let change = () => {};
      const server = createServer((_request, response) => {
        response.write("subscribed\n");
        change = () => response.write("changed\n");
      }).listen(source, "127.0.0.1");
      try {
        await listening(port);
        await line(/^tls-reload unchanged/);
        await renew(files, second);
        await until("the source is followed", () => {
          change();
          return fingerprint(port).then((served) => served === second.fingerprint256);
        });
      } finally {
        server.closeAllConnections();
        server.close();
      }
    }],
  ],
  "docs/monitoring.md": [
    ["Monitoring", showsStatusAt("")],
    ["Monitoring", showsStatusAt("")],
    ["Monitoring", showsStatusAt("")],
    ["Monitoring", showsStatusAt("/tls")],
  ],
  "docs/protocols.md": [["Mail", async ({ ports: [port = 0], line }) => {
    await listening(port);
    const mailer = await dial(port, { cert: client.cert, key: client.key });
    await line(/^CN=somebody connects$/);
    mailer.destroy();
    assertEquals((await visit(port)).greeting, undefined);
  }]],
  "docs/clients.md": [["Clients", async ({ ports: [port = 0], files, line }) => {
    const clientAuth = { ca: ca.cert, mode: "required" } as const;
    const identity = await issueServer("server", { issuer: ca });
    const server = await identityServer(new TlsState(configOf(identity, { clientAuth })), port);
    try {
      await line(/^CN=somebody$/);
      const { cert, key } = await issueClient("somebody else", { issuer: ca });
      await rename(await files.write("new.key", key), files.path("client.key"));
      await rename(await files.write("new.pem", cert), files.path("client.pem"));
      await line(/^CN=somebody else$/);
    } finally {
      await server[Symbol.asyncDispose]();
    }
  }]],
  "docs/client-certificates.md": [
    ["Client certificates", letsInClientsOf("hello CN=somebody")],
    ["Client certificates", async ({ ports: [port = 0], line }) => {
      await listening(port);
      assertEquals((await visit(port)).greeting, undefined);
      await line(/^Cannot accept connection: the client sent no certificate$/);
      const connection = await HttpConnection.open(port, { cert: client.cert, key: client.key });
      assertEquals((await connection.ask("/")).text, "hello CN=somebody\n");
      connection.close();
    }],
  ],
  "docs/check.md": [
    ["Check", printsFindings],
    ["At load and at reload", async ({ line, ended }) => {
      await line(/^serving \[ "localhost", "127\.0\.0\.1" \]|^serving \[ 'localhost', '127\.0\.0\.1' \]/);
      assertEquals(await ended(), 0);
    }],
  ],
  "mod.ts": [["", async (program) => {
    const [port = 0] = program.ports;
    await greets(port);
    await renew(program.files, second);
    program.kill("SIGHUP");
    await serves(port, second);
  }]],
  "src/bun.ts": [["", greetsClientAndWatches]],
  "src/check.ts": [["", async ({ line }) => void await line(/^error: .*www\.example\.com/)]],
  "src/deno.ts": [["", greetsClientAndWatches]],
  "src/node.ts": [["", greetsAndWatches]],
  "src/reload.ts": [["", greetsAndWatches]],
  "src/roots.ts": [["", printsRoots]],
  "src/status.ts": [["", async ({ line }) => void await line(/^tls_reload_generation 0$/)]],
  "docs/handoff.md": [
    ["Which mechanism serves", servesNatively],
    ["Which mechanism serves", servesNatively],
  ],
};

/** Files of one certificate and key, the key first. */
async function renewBundle(files: TestFiles, { cert, key }: Pick<Issued, "cert" | "key">): Promise<void> {
  await rename(await files.write("bundle.pem.new", `${key}\n${cert}`), files.path("bundle.pem"));
}

/** Shows the status below a path. */
function showsStatusAt(base: string): Check {
  return async ({ ports: [port = 0] }) => {
    const ask = (path: string) => {
      return fetch(`http://127.0.0.1:${port}${base}${path}`, { headers: { connection: "close" } });
    };
    const isShown = () => ask("/").then(({ ok, body }) => body!.cancel().then(() => ok), () => false);
    await until("the status is shown", isShown);
    assertEquals((await (await ask("/")).json()).fingerprint256, first.fingerprint256);
    assertMatch(await (await ask("/metrics")).text(), /^tls_reload_generation 0$/m);
  };
}

async function printsRoots(program: Running): Promise<void> {
  await program.line(/^1 roots/);
  assertEquals(await program.ended(), 0);
}

async function printsFindings({ line, ended }: Running): Promise<void> {
  await line(/^error NAME_NOT_COVERED does not cover www\.example\.com /);
  assertEquals(await ended(), 0);
}

async function servesNatively(program: Running): Promise<void> {
  const [port = 0] = program.ports;
  await program.line(/^handoff: Linux with FFI$|^front: /);
  await listening(port);
  await renew(program.files, second);
  await serves(port, second);
}

/** Puts a certificate and its key in place, each file whole. */
async function renew(files: TestFiles, { cert, key }: Pick<Issued, "cert" | "key">): Promise<void> {
  for (const [name, content] of [["privkey.pem", key], ["fullchain.pem", cert]] as const) {
    await rename(await files.write(`${name}.new`, content), files.path(name));
  }
}

/** Waits until a condition holds. */
async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (let left = 1_000; !await holds(); left--) {
    assert(left > 0, `not within 20 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function fingerprint(port: number): Promise<string | undefined> {
  const socket = await dial(port).catch(() => undefined);
  const served = socket?.getPeerCertificate()?.fingerprint256;
  socket?.destroy();
  return served;
}

const listening = (port: number) => serves(port, first);
const serves = (port: number, { fingerprint256 }: Issued) =>
  until("the certificate is served", async () => await fingerprint(port) === fingerprint256);

async function greets(port: number): Promise<void> {
  await listening(port);
  const connection = await visit(port);
  assertMatch(connection.greeting ?? "", /^hello$|^HTTP\/1\.[01] 200 OK/);
}

async function greetsAndWatches(program: Running): Promise<void> {
  await greets(program.ports[0]!);
  await watches(program);
}

async function watches({ ports: [port = 0], files }: Running): Promise<void> {
  await listening(port);
  await renew(files, second);
  await serves(port, second);
}

/** Greets a client by its address, on a connection that outlives a swap. */
async function greetsClientAndWatches({ ports: [port = 0], files }: Running): Promise<void> {
  await listening(port);
  const connection = await HttpConnection.open(port);
  assertMatch((await connection.ask("/")).text, /^hello [\d.:a-f]+\n$/);
  await renew(files, second);
  await serves(port, second);
  assertEquals((await connection.ask("/")).status, 200);
  connection.close();
}

function letsInClientsOf(greeting: string): Check {
  return async ({ ports: [port = 0] }) => {
    const { cert, key } = client;
    await until("the server listens", async () => (await visit(port, { cert, key })).greeting === greeting);
    assertEquals((await visit(port)).greeting, undefined);
    const { cert: foreign, key: foreignKey } = await issueClient("nobody", { issuer: await issueCa("another CA") });
    assertEquals((await visit(port, { cert: foreign, key: foreignKey })).greeting, undefined);
  };
}

/** A fenced block of a document. */
interface Block {
  readonly heading: string;
  readonly language: string;
  readonly code: string;
}

/** The blocks of a page, or of the module doc of an entry. */
function blocksOf(path: string): Block[] {
  const [comment = ""] = path.endsWith(".ts") ? /^\/\*\*\n[^]*? \*\/\n/.exec(read(path)) ?? [] : [];
  const text = comment ? comment.replace(/^ \* ?/gm, "") : read(path);
  return [...text.matchAll(/^```(\S*).*\n([^]*?)^```$/gm)].map(({ index, 1: language = "", 2: code = "" }) => ({
    heading: [...text.slice(0, index).matchAll(/^#+ (.*)$/gm)].at(-1)?.[1] ?? "",
    language,
    code,
  }));
}

/** The permissions that the table of README.md gives to a program on Deno, and no other but what the page names. */
function permissionsOf(code: string, ports: readonly number[]): string[] {
  if (/ from "(?!node:|jsr:|@x\/)/.test(code)) return ["--allow-all"]; // npm packages read what they like
  if (code.includes("nativeRoots")) return ["--allow-read", "--allow-env=SSL_CERT_FILE,SSL_CERT_DIR"];
  if (code.includes("clientOptions")) return ["--allow-read=.", `--allow-net=localhost:${ports}`];
  const isNative = /\b(?:serve|listenTls)\((?:tls\.)?state/.test(code);
  const isLocal = isNative || code.includes("127.0.0.1");
  const addresses = ports.map((port) => `${isNative ? "0.0.0.0" : "[::]"}:${port}`);
  return [
    "--allow-read=.",
    ...(ports.length > 0 ? [`--allow-net=${[...addresses, ...(isLocal ? ["127.0.0.1"] : [])]}`] : []),
    ...(code.includes("systemd-notify") ? ["--allow-run=systemd-notify", "--allow-env"] : []),
    ...(code.includes("mechanismReason") ? ["--allow-ffi"] : []),
  ];
}

/** Runs a block as a file of its own, beside the files that it reads. */
async function runBlock({ code }: Block, check: Check): Promise<void> {
  await withFiles(async (files) => {
    await renew(files, first);
    await renewBundle(files, first);
    await mkdir(files.path("live/localhost"), { recursive: true });
    for (const name of ["fullchain.pem", "privkey.pem"]) {
      await symlink(`../../${name}`, files.path(`live/localhost/${name}`));
    }
    for (const name of ["ca.pem", "clients-ca.pem"]) await files.write(name, ca.cert);
    await files.write("client.pem", client.cert);
    await files.write("client.key", client.key);
    await symlink(fileURLToPath(new URL("node_modules", ROOT)), files.path("node_modules"), "junction");
    const ports: number[] = [];
    let program = code;
    for (const [fixed] of code.matchAll(/\b8\d{3}\b/g)) {
      ports.push(await freePort());
      program = program.replace(fixed, String(ports.at(-1)));
    }
    const running = startProgram(await files.write("program.ts", program), {
      cwd: files.path("."),
      denoFlags: [...permissionsOf(code, ports), ...DENO_FLAGS],
      env: { SSL_CERT_FILE: files.path("clients-ca.pem") },
    });
    try {
      const crash = running.ended().then((code) => {
        if (code !== 0) throw new Error(`The program has ended with exit code ${code}:\n${running.output()}`);
        return new Promise<never>(() => {});
      });
      await Promise.race([check(Object.assign(running, { ports, files })), crash]);
      crash.catch(() => {});
    } finally {
      await running[Symbol.asyncDispose]();
    }
  });
}

for (const [path, checks] of Object.entries(CHECKS)) {
  const programs = blocksOf(path).filter(({ language }) => language === "ts");

  test(`${path}: each program has a check here, and names its runtimes in its first line`, () => {
    assertEquals(programs.map(({ heading }) => heading), checks.map(([heading]) => heading));
    for (const { code } of programs) assertMatch(code, /^\/\/ (?:Before: )?(?:Deno|Bun|Node)(?:, (?:Bun|Node))*\n/);
  });

  test(`${path}: only programs for Deno alone import jsr: specifiers`, () => {
    for (const { code } of programs) assertEquals(code.includes("jsr:"), code.startsWith("// Deno\n"), code);
  });

  for (const [index, block] of programs.entries()) {
    const [firstLine = ""] = block.code.split("\n");
    const skip = !firstLine.includes(HERE) ? NOT_HERE : block.code.includes("SIGHUP") && NO_SIGNALS;
    test(
      `${path}: ${block.heading} (${firstLine.slice("// ".length)})`,
      { skip },
      () => runBlock(block, checks[index]?.[1] ?? (() => Promise.reject(new Error("has no check")))),
    );
  }
}

/** Documents that name files of this repository and tasks of deno.json. */
const PAGES = readdirSync(new URL("docs/", ROOT)).map((name) => `docs/${name}`);
const DOCUMENTS = [
  ...["README.md", "MIGRATING.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"],
  ...PAGES,
];

test("documents name only tasks that deno.json has", () => {
  const { tasks } = JSON.parse(read("deno.json"));
  for (const path of DOCUMENTS) {
    for (const [, name = ""] of read(path).matchAll(/\bdeno task (\w+)/g)) {
      assert(name in tasks, `${path}: deno task ${name}`);
    }
  }
});

test("documents link and name only files that exist", () => {
  for (const path of DOCUMENTS) {
    const text = read(path);
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, link = ""]) => link);
    const places = [...text.matchAll(/`((?:src|tests|bench|examples|\.github|\.ci)\/[\w./-]*|mod\.ts)`/g)]
      .map(([, place = ""]) => place);
    for (const link of links) assert(existsSync(new URL(link, new URL(path, ROOT))), `${path}: ${link}`);
    for (const place of places) assert(existsSync(new URL(place, ROOT)), `${path}: ${place}`);
  }
});

test("links to a heading of a page name one that it has", () => {
  for (const path of DOCUMENTS) {
    for (const [, file = "", anchor = ""] of read(path).matchAll(/\]\((?!https?:)([^)#]*)#([^)]+)\)/g)) {
      const target = file ? fileURLToPath(new URL(file, new URL(path, ROOT))) : fileURLToPath(new URL(path, ROOT));
      const headings = [...readFileSync(target, "utf8").matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => {
        return heading.toLowerCase().replace(/[^\w -]/g, "").replaceAll(" ", "-");
      });
      assert(headings.includes(anchor), `${path}: ${file}#${anchor}`);
    }
  }
});

test("docs/monitoring.md names every metric, and no other", () => {
  const names = read("src/reload/metrics.ts").match(/(?<=\[\s*")\w+(?=",\s*"(?:gauge|counter)")/g) ?? [];
  const [, table = ""] = /\n## Metrics\n[^]*?\| -+[^]*?\n([^]*?)\n\n/.exec(read("docs/monitoring.md")) ?? [];
  const listed = [...table.matchAll(/^\| ([^|]*)\|/gm)].flatMap(([, cell = ""]) => cell.match(/(?<=`)[a-z]\w+/g) ?? []);
  assertEquals(listed.sort(), [...names].sort());
});

test("ARCHITECTURE.md: a journey through the code names each file once", () => {
  for (const journey of read("ARCHITECTURE.md").split(/^## /m).filter((section) => section.startsWith("One "))) {
    const files = journey.match(/`src\/[\w./]+`/g) ?? [];
    assert(files.length > 5);
    assertEquals(files, [...new Set(files)]);
  }
});

test("the module doc of each entry begins with an example that is tested here", () => {
  const { exports } = JSON.parse(read("deno.json"));
  for (const path of Object.values<string>(exports).map((path) => path.replace("./", ""))) {
    assert(path in CHECKS, path);
    assertMatch(read(path), /^\/\*\*\n(?: \* \S.*\n)+ \*\n \* ```ts/, path);
  }
});

test("docs/errors.md lists every error code, and no other", () => {
  const [, union = ""] = /export type TlsReloadErrorCode =([^;]*);/.exec(read("src/errors.ts")) ?? [];
  const codes = [...union.matchAll(/"(\w+)"/g)].map(([, code = ""]) => code);
  const listed = [...read("docs/errors.md").matchAll(/^\| `([A-Z_]+)`/gm)].map(([, code = ""]) => code);
  assertEquals([...new Set(listed)].sort(), codes.sort());
});

test("docs/check.md lists each finding as its type does", () => {
  const rowsOf = (text: string) =>
    [...text.matchAll(/^(?: \* )?\| (`[A-Z_`, ]+`) +\| (.*?) *\| (.*?) *\|$/gm)].map((row) => row.slice(1));
  const documented = rowsOf(read("docs/check.md"));
  assert(documented.length > 30);
  assertEquals(documented, rowsOf(read("src/findings/finding.ts") + read("src/check/report.ts")));
});

test("README.md is at most 250 lines long", () => {
  assert(read("README.md").trimEnd().split("\n").length <= 250);
});

test("README.md: each program has at most eight lines", () => {
  for (const { language, code, heading } of blocksOf("README.md")) {
    if (language === "ts") assert(code.split("\n").filter(Boolean).length <= 8, heading);
  }
});
