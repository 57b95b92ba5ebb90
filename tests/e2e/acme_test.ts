import { assertEquals, assertNotEquals } from "@std/assert";
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import process from "node:process";
import test from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { issueServer } from "../support/certificates.ts";
import { type TestFiles, withFiles } from "../support/files.ts";
import { portOf } from "../support/peers.ts";
import { BY_EVENTS, nextEvent, RotatingServer } from "../reload/rotating_files.ts";

const NAME = "tls.example.test";
const RENEW = ["--force-renewal", "--no-random-sleep-on-renew"];
/** Why the test is skipped where these programs of Debian are missing. */
const NO_AUTHORITY = ["pebble", "pebble-challtestsrv", "certbot"].some((name) => {
  return spawnSync("sh", ["-c", `command -v ${name}`]).status !== 0;
}) && "needs an ACME authority and client: apt-get install pebble certbot";

/** A loopback address that is this run's alone, so that nobody else takes a port there between two looks at it. */
const ADDRESS = ["127", ...randomBytes(3).map((byte) => 1 + byte % 254)].join(".");

/** Ports that nothing listens on. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, ADDRESS));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map(portOf);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function listening(port: number): Promise<void> {
  for (;;) {
    const socket = connect({ host: ADDRESS, port });
    const isOpen = await new Promise((resolve) => {
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    });
    socket.destroy();
    if (isOpen) return;
    await delay(50);
  }
}

/** Starts Pebble, for which every name is this address, and what answers its challenges there. */
async function startAuthority(files: TestFiles, processes: ChildProcess[]) {
  const ports = await freePorts(6) as [number, number, number, number, number, number];
  const [dns, http, management, acme, admin, tls] = ports;
  const own = await issueServer("pebble", { names: [{ type: "ip", value: ADDRESS }] });
  const config = {
    pebble: {
      listenAddress: `${ADDRESS}:${acme}`,
      managementListenAddress: `${ADDRESS}:${admin}`,
      certificate: await files.write("pebble.crt", own.cert),
      privateKey: await files.write("pebble.key", own.key),
      httpPort: http,
      tlsPort: tls,
    },
  };
  const env = { ...process.env, PEBBLE_VA_NOSLEEP: "1", PEBBLE_WFE_NONCEREJECT: "0" };
  const start = (command: string, options: Record<string, string>) => {
    const args = Object.entries(options).flatMap(([name, value]) => [`-${name}`, value]);
    processes.push(spawn(command, args, { env, stdio: "ignore" }));
  };
  start("pebble-challtestsrv", {
    defaultIPv4: ADDRESS,
    defaultIPv6: "",
    dns01: `${ADDRESS}:${dns}`,
    http01: `${ADDRESS}:${http}`,
    https01: "",
    management: `${ADDRESS}:${management}`,
    tlsalpn01: "",
  });
  start("pebble", {
    config: await files.write("pebble.json", JSON.stringify(config)),
    dnsserver: `${ADDRESS}:${dns}`,
  });
  await Promise.all([dns, http, management, acme].map(listening));
  return {
    directory: `https://${ADDRESS}:${acme}/dir`,
    bundle: config.pebble.certificate,
    challenges: `http://${ADDRESS}:${management}/add-http01`,
  };
}

test("Reloader serves what certbot renews at an ACME authority, and no client fails", {
  skip: NO_AUTHORITY,
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
