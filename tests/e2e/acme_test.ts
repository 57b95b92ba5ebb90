import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, connect, createServer as createListener } from "node:net";
import process from "node:process";
import test from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { issueServer } from "../support/certificates.ts";
import { type TestFiles, withFiles } from "../support/files.ts";
import { BY_EVENTS, RotatingServer, told } from "../reload/rotating_files.ts";

const NAME = "tls.example.test";
const RENEW = ["--force-renewal", "--no-random-sleep-on-renew"];
/** Why the test is skipped where these programs of Debian are missing. */
const NO_AUTHORITY = ["pebble", "pebble-challtestsrv", "certbot"].some((name) => {
  return spawnSync("sh", ["-c", `command -v ${name}`]).status !== 0;
}) && "needs an ACME authority and client: apt-get install pebble certbot";

/** Ports that nothing listened on a moment ago. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createListener().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function listening(port: number): Promise<void> {
  for (;;) {
    const socket = connect({ host: "127.0.0.1", port });
    const isOpen = await new Promise((resolve) => {
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    });
    socket.destroy();
    if (isOpen) return;
    await delay(50);
  }
}

/** Starts Pebble, for which every name is 127.0.0.1. */
async function startAuthority(files: TestFiles, httpPort: number, processes: ChildProcess[]) {
  const [dns, management, acme, admin, tls] = await freePorts(5) as [number, number, number, number, number];
  const own = await issueServer("pebble");
  const config = {
    pebble: {
      listenAddress: `127.0.0.1:${acme}`,
      managementListenAddress: `127.0.0.1:${admin}`,
      certificate: await files.write("pebble.crt", own.cert),
      privateKey: await files.write("pebble.key", own.key),
      httpPort,
      tlsPort: tls,
    },
  };
  const env = { ...process.env, PEBBLE_VA_NOSLEEP: "1", PEBBLE_WFE_NONCEREJECT: "0" };
  const start = (command: string, ...args: string[]) => {
    processes.push(spawn(command, args, { env, stdio: "ignore" }));
  };
  const none = ["-http01", "", "-https01", "", "-tlsalpn01", ""];
  const answers = ["-defaultIPv6", "", "-defaultIPv4", "127.0.0.1"];
  start(
    "pebble-challtestsrv",
    ...answers,
    ...none,
    "-dns01",
    `127.0.0.1:${dns}`,
    "-management",
    `127.0.0.1:${management}`,
  );
  const path = await files.write("pebble.json", JSON.stringify(config));
  start("pebble", "-config", path, "-dnsserver", `127.0.0.1:${dns}`);
  await Promise.all([listening(acme), listening(management)]);
  return { directory: `https://localhost:${acme}/dir`, bundle: config.pebble.certificate };
}

test("Reloader serves what certbot renews at an ACME authority, and no client fails", {
  skip: NO_AUTHORITY,
  timeout: 120_000,
}, () =>
  withFiles(async (files) => {
    const processes: ChildProcess[] = [];
    const challenges = new Map<string, string>();
    // The challenge response is our own server's: certbot hands it over by its hook.
    const http = createHttpServer((request, response) => {
      if (request.method === "PUT") {
        let body = "";
        request.on("data", (text) => body += text).once("end", () => {
          challenges.set(request.url!, body);
          response.end();
        });
      } else response.end(challenges.get(request.url!) ?? "");
    }).listen(0, "127.0.0.1");
    await once(http, "listening");
    const { port } = http.address() as AddressInfo;
    try {
      const { directory, bundle } = await startAuthority(files, port, processes);
      const url = `http://127.0.0.1:${port}/.well-known/acme-challenge/`;
      const hook = `curl --silent --fail --upload-file - ${url}$CERTBOT_TOKEN`;
      const certbot = (...args: string[]) => {
        const folders = ["config", "work", "logs"].flatMap((name) => [`--${name}-dir`, files.path(name)]);
        const env = { ...process.env, REQUESTS_CA_BUNDLE: bundle };
        return promisify(execFile)("certbot", [...args, ...folders, "--non-interactive"], { env });
      };
      const authHook = `printf %s "$CERTBOT_VALIDATION" | ${hook}`;
      const account = ["--agree-tos", "--register-unsafely-without-email", "--server", directory];
      const manual = ["--manual", "--preferred-challenges", "http", "--manual-auth-hook", authHook];
      await certbot("certonly", ...manual, ...account, "-d", NAME);

      const live = `config/live/${NAME}`;
      const paths = [files.path(`${live}/fullchain.pem`), files.path(`${live}/privkey.pem`)] as const;
      // One sees the files change, the other is told by the deploy hook and looks at nothing.
      const watching = await RotatingServer.start(...paths, BY_EVENTS);
      const signalled = await RotatingServer.start(...paths);
      signalled.reloader.onSignal("SIGHUP");
      const servers = [watching, signalled];
      assertEquals(watching.reloader.status().names, [NAME]);
      const seen = [await watching.served()];
      for (let renewal = 1; renewal <= 2; renewal++) {
        const swapped = servers.map(({ reloader }) => told(reloader, "swap"));
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
      assert(challenges.size >= 1);
    } finally {
      for (const child of processes) {
        child.kill();
        if (child.exitCode === null && child.signalCode === null) await once(child, "close");
      }
      await new Promise((resolve) => http.close(resolve));
    }
  }));
