import { assertEquals, assertNotEquals } from "@std/assert";
import { type ChildProcess, execFile } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import test from "node:test";
import { promisify } from "node:util";
import { ADDRESS, missingPrograms, startAuthority } from "../support/acme_authority.ts";
import { withFiles } from "../support/files.ts";
import { HttpConnection } from "../support/http.ts";
import { startProgram } from "../support/programs.ts";
import { BY_EVENTS, nextEvent, RotatingServer } from "../reload/rotating_files.ts";

const NAME = "tls.example.test";
const RENEW = ["--force-renewal", "--no-random-sleep-on-renew"];
/** Why tests are skipped where these programs of Debian are missing. */
const NO_AUTHORITY = missingPrograms("pebble", "pebble-challtestsrv").length > 0 &&
  "needs an ACME authority: apt-get install pebble";
const NO_CERTBOT = missingPrograms("certbot").length > 0 && "needs an ACME client: apt-get install certbot";
const { deno, bun } = process.versions;
/** Bun's `https` shows no ClientHello, and Deno refuses the certificate of RFC 8737. */
const ONLY_NODE = Boolean(deno || bun) && "an example for Node";

test("Reloader serves what certbot renews at an ACME authority, and no client fails", {
  skip: NO_AUTHORITY || NO_CERTBOT,
  timeout: 120_000,
}, () =>
  withFiles(async (files) => {
    const processes: ChildProcess[] = [];
    try {
      const { directory, bundle, challenges } = await startAuthority(files, processes);
      const certbot = (...args: string[]) => {
        const folders = ["config", "work", "logs"].flatMap((name) => [`--${name}-dir`, files.path(name)]);
        const env = { ...process.env, REQUESTS_CA_BUNDLE: bundle };
        return promisify(execFile)("certbot", [...args, ...folders, "--non-interactive"], { env });
      };
      const answer = String.raw`{\"token\":\"$CERTBOT_TOKEN\",\"content\":\"$CERTBOT_VALIDATION\"}`;
      const authHook = `curl --silent --fail --data "${answer}" ${challenges}`;
      const account = ["--agree-tos", "--register-unsafely-without-email", "--server", directory];
      const manual = ["--manual", "--preferred-challenges", "http", "--manual-auth-hook", authHook];
      await certbot("certonly", ...manual, ...account, "-d", NAME);

      const live = `config/live/${NAME}`;
      const paths = [files.path(`${live}/fullchain.pem`), files.path(`${live}/privkey.pem`)] as const;
      // One sees the files change, the deploy hook reloads the other, which watches nothing.
      const watching = await RotatingServer.start(...paths, BY_EVENTS);
      const signalled = await RotatingServer.start(...paths);
      signalled.reloader.onSignal("SIGHUP");
      const servers = [watching, signalled];
      assertEquals(watching.reloader.status().names, [NAME]);
      const seen = [await watching.served()];
      for (let renewal = 1; renewal <= 2; renewal++) {
        const swapped = servers.map(({ reloader }) => nextEvent(reloader, "swap"));
        await certbot("renew", ...RENEW, "--deploy-hook", `kill -HUP ${process.pid}`);
        await Promise.all(swapped);
        const served = await watching.served();
        assertNotEquals(served, seen.at(-1));
        for (const server of servers) {
          assertEquals(await server.served(), served);
          assertEquals(server.reloader.status().fingerprint256, served);
        }
        seen.push(served);
      }
      for (const server of servers) {
        const { failed, served } = await server.stop();
        assertEquals(failed, 0);
        assertEquals(new Set([...seen, ...served]).size, 3);
      }
    } finally {
      for (const child of processes) {
        child.kill();
        if (child.exitCode === null && child.signalCode === null) await once(child, "close");
      }
    }
  }));

test("acme.ts gets its own certificate by tls-alpn-01, and renews it without a restart", {
  skip: NO_AUTHORITY || ONLY_NODE,
  timeout: 120_000,
}, () =>
  withFiles(async (files) => {
    const processes: ChildProcess[] = [];
    try {
      const { directory, bundle, tlsPort } = await startAuthority(files, processes);
      const env = { ACME_DIRECTORY: directory, NODE_EXTRA_CA_CERTS: bundle, HOST: ADDRESS, PORT: String(tlsPort) };
      const program = startProgram("examples/acme.ts", { args: [NAME], env });
      try {
        const open = () => HttpConnection.open(tlsPort, { host: ADDRESS, servername: NAME });
        const [, first] = await program.line(/^serves (.*)$/);
        const before = await open();
        assertEquals(before.fingerprint256, first);
        assertEquals(before.socket.getPeerCertificate().subjectaltname, `DNS:${NAME}`);
        assertEquals((await before.ask("/")).text, "hello\n");
        program.kill("SIGHUP");
        const [, second] = await program.line(/^serves (.*)$/);
        assertNotEquals(second, first);
        const after = await open();
        assertEquals(after.fingerprint256, second);
        for (const connection of [before, after]) {
          assertEquals((await connection.ask("/")).text, "hello\n");
          connection.close();
        }
      } finally {
        await program[Symbol.asyncDispose]();
      }
    } finally {
      for (const child of processes) {
        child.kill();
        if (child.exitCode === null && child.signalCode === null) await once(child, "close");
      }
    }
  }));
