import { assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { once } from "node:events";
import { mkdir, readdir, readFile, rename, symlink, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import process from "node:process";
import test from "node:test";
import { connect } from "node:tls";
import { TlsState } from "../mod.ts";
import { issueCa, issueClient, type Issued, issueServer } from "./support/certificates.ts";
import { companyServer } from "./support/company_server.ts";
import { type TestFiles, withFiles } from "./support/files.ts";
import { HttpConnection } from "./support/http.ts";
import { identityServer } from "./support/identity_server.ts";
import { configOf, dial, dialTcp, visit } from "./support/peers.ts";
import { freePort } from "./support/ports.ts";
import { type Program, startProgram } from "./support/programs.ts";

const { deno, bun, node } = process.versions;
const ONLY_DENO = !deno && "an example for Deno";
const ONLY_BUN = !bun && "an example for Bun";
const ONLY_NODE = Boolean(deno || bun || !node) && "an example for Node";
const NO_SIGNALS = process.platform === "win32" && "Windows has no SIGHUP";
const NO_SHARED_PORT = process.platform !== "linux" && "reusePort shares connections among listeners on Linux only";
const [first, second] = await Promise.all([issueServer("first"), issueServer("second")]);

/** Puts a certificate and its key in place as renewal tools do: each file is replaced whole. */
async function renew(files: TestFiles, { cert, key }: Issued): Promise<void> {
  for (const [name, content] of [["privkey.pem", key], ["fullchain.pem", cert]] as const) {
    await rename(await files.write(`${name}.new`, content), files.path(name));
  }
}

/** Starts an example on the first certificate, passes its port to the test, and ends it. */
async function withExample(
  file: string,
  body: (port: number, program: Program, files: TestFiles) => Promise<void>,
): Promise<void> {
  await withFiles(async (files) => {
    await renew(files, first);
    const args = [files.path("fullchain.pem"), files.path("privkey.pem")];
    const program = startProgram(`examples/${file}`, { args, env: { PORT: "0" } });
    try {
      const [, port] = await program.line(/^\w+:\/\/localhost:(\d+)\/$/);
      await body(Number(port), program, files);
    } finally {
      await program[Symbol.asyncDispose]();
    }
  });
}

/** The fingerprint of the certificate that a new connection is served. */
async function servedBy(port: number): Promise<string> {
  const client = await dial(port);
  const { fingerprint256 } = client.getPeerCertificate();
  client.destroy();
  return fingerprint256;
}

/** Connects again and again until the second certificate is served. */
async function renewed(port: number): Promise<void> {
  for (let left = 1_000; await servedBy(port) !== second.fingerprint256; left--) {
    assertNotEquals(left, 0, "the new certificate is not served");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test("examples/ import nothing but this module by its name, built-ins and npm packages", async () => {
  const files = (await readdir(new URL("../examples/", import.meta.url), { recursive: true }))
    .filter((path) => path.includes("."))
    .map((path) => path.replaceAll("\\", "/"));
  const elsewhere = [
    "client/databases_test.ts",
    "client/rolling_test.ts",
    "e2e/acme_test.ts",
    "reload/follow_spiffe_test.ts",
    "reload/follow_stand_ins_test.ts",
    "status/monitoring_examples_test.ts",
    "support/recipes.ts",
    "support/stores.ts",
  ];
  const tests = [new URL(import.meta.url), ...elsewhere.map((path) => new URL(path, import.meta.url))];
  const tested = (await Promise.all(tests.map((path) => readFile(path, "utf8")))).join();
  const { imports } = JSON.parse(await readFile(new URL("../deno.json", import.meta.url), "utf8"));
  const packages = Object.keys(imports).filter((name) => imports[name].startsWith("npm:"));
  const isPackage = (specifier: string) =>
    packages.some((name) => specifier === name || specifier.startsWith(`${name}/`));
  for (const file of files) {
    const text = await readFile(new URL(`../examples/${file}`, import.meta.url), "utf8");
    for (const [, from = "", dynamic = ""] of text.matchAll(/\bfrom "([^"]+)"|\bimport\("([^"]+)"/g)) {
      const specifier = from || dynamic;
      const isAllowed = /^(?:node:|npm:|@x\/tls-reload(?:\/\w+)?$)/.test(specifier) || isPackage(specifier);
      assertEquals(isAllowed, true, `${file}: ${specifier}`);
    }
    assertEquals(tested.includes(basename(file)), true, `${file} is not tested`);
  }
});

test("bun_serve.ts answers routes and WebSockets, and serves a new certificate on SIGHUP", {
  skip: ONLY_BUN || NO_SIGNALS,
}, () =>
  withExample("bun_serve.ts", async (port, program, files) => {
    const connection = await HttpConnection.open(port);
    assertEquals(connection.fingerprint256, first.fingerprint256);
    assertEquals((await connection.ask("/health")).text, "ok\n");
    assertEquals((await connection.ask("/users/7")).text, '{"id":"7"}');
    assertMatch((await connection.ask("/")).text, /^hello (?:::ffff:)?127\.0\.0\.1\n$/);
    await renew(files, second);
    program.kill("SIGHUP");
    await renewed(port);
    await connection.upgrade("/live");
    connection.sendText("still here");
    assertEquals(await connection.receiveText(), "still here");
    connection.close();
  }));

test(
  "bun_chat.ts keeps members in the room when the certificate changes",
  { skip: ONLY_BUN },
  () =>
    withExample("bun_chat.ts", async (port, _program, files) => {
      const member = await HttpConnection.open(port);
      await member.upgrade("/");
      await renew(files, second);
      await renewed(port);
      const newcomer = await HttpConnection.open(port);
      await newcomer.upgrade("/");
      assertEquals([member, newcomer].map((each) => each.fingerprint256), [
        first.fingerprint256,
        second.fingerprint256,
      ]);
      member.sendText("hello from the first certificate");
      assertEquals(await newcomer.receiveText(), "hello from the first certificate");
      newcomer.sendText("hello from the second");
      assertEquals(await member.receiveText(), "hello from the second");
      for (const connection of [member, newcomer]) connection.close();
    }),
);

test(
  "deno_listen.ts echoes on connections from before and after a swap",
  { skip: ONLY_DENO },
  () =>
    withExample("deno_listen.ts", async (port, _program, files) => {
      const before = await dial(port);
      await renew(files, second);
      await renewed(port);
      const after = await dial(port);
      for (const client of [before, after]) {
        client.write("echo");
        assertEquals(String(await new Promise((resolve) => client.once("data", resolve))), "echo");
        client.destroy();
      }
    }),
);

test(
  "reload_certbot.ts serves what the links of certbot lead to, and reloads on SIGHUP",
  { skip: NO_SIGNALS },
  () =>
    withFiles(async (files) => {
      for (const folder of ["live", "archive"]) await mkdir(files.path(folder));
      /** Certbot writes new files and retargets the symbolic links to them. */
      const link = async (revision: number, { cert, key }: Issued) => {
        for (const [name, content] of [["privkey", key], ["fullchain", cert]] as const) {
          await writeFile(files.path(`archive/${name}${revision}.pem`), content, { mode: 0o600 });
          await symlink(`../archive/${name}${revision}.pem`, files.path("live/new"));
          await rename(files.path("live/new"), files.path(`live/${name}.pem`));
        }
      };
      await link(1, first);
      const program = startProgram("examples/reload_certbot.ts", { args: [files.path("live")], env: { PORT: "0" } });
      try {
        const port = Number((await program.line(/^https:\/\/localhost:(\d+)\/$/))[1]);
        assertEquals((await visit(port)).greeting, "generation 0");
        await link(2, second);
        program.kill("SIGHUP");
        assertEquals((await program.line(/^serves (.*)$/))[1], second.fingerprint256);
        const { greeting, fingerprint256 } = await visit(port);
        assertEquals([greeting, fingerprint256], ["generation 1", second.fingerprint256]);
      } finally {
        await program[Symbol.asyncDispose]();
      }
    }),
);

/** Connects until so many more servers have greeted, all with the second certificate. */
async function addGreetings(greetings: Set<string>, port: number, more: number): Promise<void> {
  for (const count = greetings.size + more; greetings.size < count;) {
    const { greeting, fingerprint256 } = await visit(port);
    if (greeting === undefined) continue; // of a process that was killed
    assertEquals(fingerprint256, second.fingerprint256, greeting);
    greetings.add(greeting);
  }
}

test(
  "reload_cluster.ts serves a renewed certificate in every thread and process, and in one that starts later",
  { skip: NO_SHARED_PORT },
  () =>
    withExample("reload_cluster.ts", async (port, program, files) => {
      await renew(files, second);
      const workers = new Set<string>();
      while (workers.size < 4) workers.add((await program.line(/^(.*) serves the new certificate$/))[1]!);
      const greetings = new Set<string>();
      await addGreetings(greetings, port, 4);
      assertEquals(greetings, workers);
      process.kill(Number([...greetings].join().match(/process (\d+)/)![1]), "SIGKILL");
      await addGreetings(greetings, port, 1);
    }),
);

for (const [file, skip] of [["bun_cluster.ts", ONLY_BUN], ["deno_workers.ts", ONLY_DENO]] as const) {
  test(
    `${file} serves a renewed certificate in every worker`,
    { skip: skip || NO_SHARED_PORT },
    () =>
      withFiles(async (files) => {
        await renew(files, first);
        const port = await freePort();
        const program = startProgram(`examples/${file}`, {
          args: [files.path("fullchain.pem"), files.path("privkey.pem")],
          env: { PORT: String(port) },
          denoFlags: ["-A", "--unstable-net"],
        });
        try {
          for (const _ of [1, 2]) await program.line(/^(?:worker|process) \d+: https:/);
          const connection = await HttpConnection.open(port);
          await renew(files, second);
          const workers = new Set<string>();
          while (workers.size < 2) {
            const visitor = await HttpConnection.open(port);
            const { text } = await visitor.ask("/");
            if (visitor.fingerprint256 === second.fingerprint256) workers.add(text);
            else assertEquals([visitor.fingerprint256, workers.has(text)], [first.fingerprint256, false]);
            visitor.close();
          }
          assertEquals((await connection.ask("/")).status, 200);
          connection.close();
        } finally {
          await program[Symbol.asyncDispose]();
        }
      }),
  );
}

test("starttls.ts upgrades a connection after the command, and no other bytes", () =>
  withExample("starttls.ts", async (port) => {
    const socket = await dialTcp(port);
    await once(socket, "data");
    socket.write("STARTTLS\r\n");
    assertEquals(String((await once(socket, "data"))[0]), "220 go ahead\r\n");
    const client = connect({ socket, rejectUnauthorized: false });
    assertEquals(String((await once(client, "data"))[0]), "221 bye\r\n");
    assertEquals(client.getPeerCertificate().fingerprint256, first.fingerprint256);
    client.destroy();

    const injecting = await dialTcp(port);
    await once(injecting, "data");
    injecting.write("STARTTLS\r\nEHLO evil\r\n");
    assertMatch(String((await once(injecting, "data"))[0]), /^502 /);
    injecting.destroy();
  }));

const ROOTS: readonly [file: string, skip: string | false, printed: readonly RegExp[]][] = [
  ["roots_connect.ts", false, [/^1 roots$/, /^tls\.connect\(\): authorized true$/, /^https\.Agent: 200$/]],
  ["roots_bun.ts", ONLY_BUN, [/^fetch\(\) on Bun: 200$/]],
  ["roots_deno.ts", ONLY_DENO, [/^fetch\(\) on Deno: 200$/]],
  ["roots_undici.ts", ONLY_NODE, [/^undici: 200$/]],
];
for (const [file, skip, printed] of ROOTS) {
  test(`${file} trusts the roots of the system, which a company has replaced`, { skip }, async () => {
    const server = await companyServer();
    const program = startProgram(`examples/${file}`, { args: [server.url], env: server.env });
    try {
      for (const pattern of printed) await program.line(pattern);
      assertEquals(await program.ended(), 0);
    } finally {
      await program[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    }
  });
}

const CLIENTS: readonly [file: string, skip: string | false][] = [
  ["client_agent.ts", false],
  ["client_bun.ts", ONLY_BUN],
  ["client_deno.ts", ONLY_DENO],
  ["client_undici.ts", ONLY_NODE],
];
for (const [file, skip] of CLIENTS) {
  test(`${file} shows a renewed certificate`, { skip }, () =>
    withFiles(async (files) => {
      const ca = await issueCa("CA");
      const [server, ...clients] = await Promise.all([
        issueServer("server", { issuer: ca }),
        ...["client 1", "client 2"].map((name) => issueClient(name, { issuer: ca })),
      ]);
      const clientAuth = { ca: ca.cert, mode: "required" } as const;
      const serving = await identityServer(new TlsState(configOf(server!, { clientAuth })));
      await renew(files, clients[0]!);
      const args = [files.path("fullchain.pem"), files.path("privkey.pem"), await files.write("ca.pem", ca.cert)];
      const program = startProgram(`examples/${file}`, { args: [...args, `https://127.0.0.1:${serving.port}/`] });
      try {
        await program.line(/^CN=client 1$/);
        await renew(files, clients[1]!);
        await program.line(/^CN=client 2$/);
      } finally {
        await program[Symbol.asyncDispose]();
        await serving[Symbol.asyncDispose]();
      }
    }));
}

test("roots_refresh.ts trusts a new authority after SIGHUP", { skip: NO_SIGNALS }, async () => {
  const server = await companyServer();
  const program = startProgram("examples/roots_refresh.ts", { args: [server.url], env: server.env });
  try {
    await program.line(/^200$/);
    await server.renewAuthority();
    program.kill("SIGHUP");
    await program.line(/^200$/);
  } finally {
    await program[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  }
});
