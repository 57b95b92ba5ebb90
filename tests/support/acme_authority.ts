import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { issueServer } from "./certificates.ts";
import type { TestFiles } from "./files.ts";
import { portOf } from "./peers.ts";

/** Which of these programs are missing on this machine. */
export function missingPrograms(...names: string[]): string[] {
  return names.filter((name) => spawnSync("sh", ["-c", `command -v ${name}`]).status !== 0);
}

/** A loopback address that is this run's alone, so that nobody else takes a port there between two looks at it. */
export const ADDRESS = ["127", ...randomBytes(3).map((byte) => 1 + byte % 254)].join(".");

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
export async function startAuthority(files: TestFiles, processes: ChildProcess[]) {
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
    tlsPort: tls,
    challenges: `http://${ADDRESS}:${management}/add-http01`,
  };
}
