// Follows two files in a process of its own: SCRIPT CERT KEY NEXT_CERT NEXT_KEY [OPTIONS as JSON]
import { spawnSync } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { chmod, chown, copyFile, readdir, rename, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { loadTlsConfig, TlsState } from "../../mod.ts";
import { Reloader } from "../../src/reload.ts";
import { echoServer, visit } from "../support/peers.ts";
import { until } from "../support/tcp.ts";
import { inotifyWatches, nextEvent } from "./rotating_files.ts";

const [script = "", cert = "", key = "", nextCert = "", nextKey = "", options = "{}"] = process.argv.slice(2);
const [directory, nextDirectory] = [dirname(cert), dirname(nextCert)];
const NOBODY = 65534;
/** One in 10 s. */
const LOOKS_AN_HOUR = 360;
const WATCHES = 8;

const load = () => loadTlsConfig(cert, key);
const state = new TlsState(await load());
const reloader = new Reloader(state, load);
reloader.addEventListener("reject", (event) => event.preventDefault());

async function watch(): Promise<void> {
  const looked = nextEvent(reloader, "unchanged");
  reloader.watch([cert, key], { pollIntervalMs: 50, settleMs: 10, ...JSON.parse(options) });
  await looked;
}

/** What a client is served, whether the reloader knows, and what it fails of, if it does. */
async function print(step: string, hasReason = false): Promise<void> {
  const { failuresInARow, inSync, lastError, watches } = reloader.status();
  const { fingerprint256 } = await visit(server.port);
  const degraded = watches.map(({ degraded }) => degraded).find((each) => each !== undefined);
  const isDegraded = degraded !== undefined;
  const error = failuresInARow > 0 ? lastError?.message.replaceAll(/"[^"]*"/g, "FILE") : null;
  console.log(JSON.stringify({ step, fingerprint256, error, inSync, isDegraded, ...(hasReason && { degraded }) }));
}

async function rotate(): Promise<void> {
  if (reloader.status().watches.length === 0) await watch();
  const swapped = nextEvent(reloader, "swap");
  await rename(nextKey, key);
  await rename(nextCert, cert);
  await swapped;
  await print("rotated", true);
}

/** Takes every descriptor that the limit allows, also those that are given back, until it is stopped. */
function takeDescriptors(): () => void {
  const taken: number[] = [];
  const take = () => {
    try {
      for (;;) taken.push(openSync("/dev/null", "r"));
    } catch {
      // The limit is reached.
    }
  };
  take();
  const timer = setInterval(take, 1);
  return () => {
    clearInterval(timer);
    for (const descriptor of taken) closeSync(descriptor);
  };
}

/** Waits for so many failures, also if a success comes between them. */
async function failures(count: number): Promise<void> {
  let last = reloader.status().failuresInARow;
  await until(() => {
    const { failuresInARow: now } = reloader.status();
    if (now !== last) count -= now > last ? now - last : now;
    last = now;
    return count <= 0;
  });
}

async function starve(): Promise<void> {
  // Deno dies if it comes to prepare for signals at the limit.
  reloader.onSignal("SIGHUP");
  await watch();
  for (const change of ["swap", "unchanged"] as const) {
    // A descriptor that was given back for a moment may let a look succeed early.
    const swapped = change === "swap" ? nextEvent(reloader, "swap") : undefined;
    const release = takeDescriptors();
    // A look opens only files that have changed.
    if (change === "swap") {
      await rename(directory, `${directory}.old`);
      await rename(nextDirectory, directory);
    } else {
      await utimes(cert, new Date(), new Date());
    }
    // The second failure from now on is of a look that began after the change.
    await failures(2);
    const { lastError } = reloader.status();
    release();
    await swapped;
    await until(() => reloader.status().failuresInARow === 0 && !isDegraded());
    await print(lastError!.message.replaceAll(/"[^"]*"/g, "FILE"));
  }
}

/** Nothing is forbidden to root. */
async function dropPrivileges(): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const everything = [cert, key, nextCert, nextKey, directory, nextDirectory, dirname(directory)];
  for (const path of everything) await chown(path, NOBODY, NOBODY);
  process.setgid!(NOBODY);
  process.setuid!(NOBODY);
}

/** The folder may be searched for files by their names, but not read. */
async function hide(): Promise<void> {
  await dropPrivileges();
  const { mode } = await stat(directory);
  await chmod(directory, 0o300);
  await rotate();
  await chmod(directory, mode);
  await until(() => !isDegraded());
  await print("shown", true);
}

async function forbid(): Promise<void> {
  await dropPrivileges();
  await watch();
  for (const path of [key, directory]) {
    const { mode } = await stat(path);
    const rejected = nextEvent(reloader, "reject");
    await chmod(path, 0);
    await rejected;
    await print("lost");
    const regained = nextEvent(reloader, "unchanged");
    await chmod(path, mode);
    await regained;
    await print("regained");
  }
  const rejected = nextEvent(reloader, "reject");
  await chmod(key, 0);
  await rejected;
  await rotate();
}

function mountOver(what: string, where: string): void {
  const { status, stderr } = spawnSync("mount", ["--bind", what, where]);
  if (status !== 0) throw new Error(`mount failed: ${stderr}`);
}

const isDegraded = () => reloader.status().watches.some(({ degraded }) => degraded !== undefined);

/** A container runtime mounts single files, and the host replaces them. */
async function bind(): Promise<void> {
  mountOver(nextCert, cert);
  mountOver(nextKey, key);
  await reloader.reload();
  await watch();
  await print("mounted", true);
  await copyFile(nextCert, `${nextCert}.new`);
  await rename(`${nextCert}.new`, nextCert);
  await until(isDegraded);
  await print("replaced", true);
}

/** A file is replaced by a mount, of which the system reports nothing: so it is on a network file system. */
async function silence(): Promise<void> {
  await watch();
  await print("watched", true);
  const swapped = nextEvent(reloader, "swap");
  mountOver(nextKey, key);
  mountOver(nextCert, cert);
  await swapped;
  await until(isDegraded);
  await print("silent", true);
  // An event proves that the system reports changes.
  await writeFile(join(directory, "event"), "");
  await until(() => !isDegraded());
  await print("reported", true);
}

/** Kubernetes mounts a volume whole, or one file of it by `subPath`. */
async function mount(): Promise<void> {
  const volume = join(nextDirectory, "volume");
  const flip = async (version: string) => {
    await symlink(version, join(nextDirectory, "tmp"));
    await rename(join(nextDirectory, "tmp"), volume);
  };
  const [certName, keyName] = [cert.slice(directory.length), key.slice(directory.length)];
  await flip(directory);
  for (const [name, path] of [[certName, cert], [keyName, key]] as const) mountOver(volume + name, path);
  await watch();
  await flip(nextDirectory);
  const looked = reloader.status().watches[0]?.checkedAt;
  await until(() => reloader.status().watches[0]?.checkedAt !== looked);
  await print("subPath");
  const swapped = nextEvent(reloader, "swap");
  mountOver(nextDirectory, directory);
  await swapped;
  await print("volume");
}

/** A day of looks as fast as they go, with a renewal each hour, after some hours to get warm. */
async function hurry(): Promise<void> {
  for (const hours of [4, 24]) {
    const watching = await live(hours);
    console.log(JSON.stringify({ watching, ...await holdings() }));
  }
}

async function live(hours: number): Promise<number> {
  const reloader = new Reloader(state, load);
  for (let count = 0; count < WATCHES; count++) reloader.watch([cert, key], { pollIntervalMs: 1, settleMs: 1 });
  for (let hour = 0; hour < hours; hour++) {
    const swapped = nextEvent(reloader, "swap");
    await rename(directory, `${directory}.old`);
    await rename(nextDirectory, directory);
    await rename(`${directory}.old`, nextDirectory);
    await swapped;
    await looks(reloader, LOOKS_AN_HOUR);
  }
  const watching = await inotifyWatches();
  await reloader.close();
  return watching;
}

/** Waits until at least so many looks have been taken, whichever watch took them. */
async function looks(reloader: Reloader, count: number): Promise<void> {
  let seen: (number | undefined)[] = [];
  for (let taken = 0; taken < count;) {
    const now = reloader.status().watches.map(({ checkedAt }) => checkedAt?.getTime());
    taken += now.filter((time, index) => time !== seen[index]).length;
    seen = now;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** What this process holds, once all rubbish is gone. */
async function holdings(): Promise<{ bytes: number; descriptors: number; watches: number }> {
  const { gc, Bun } = globalThis as { gc?: () => void; Bun?: { gc: (isSync: boolean) => void } };
  for (let count = 0; count < 4; count++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    Bun ? Bun.gc(true) : gc!();
  }
  const { heapUsed, external } = process.memoryUsage();
  const descriptors = (await readdir("/proc/self/fd")).length;
  return { bytes: heapUsed + external, descriptors, watches: await inotifyWatches() };
}

async function leave(): Promise<void> {
  await watch();
  reloader.onSignal("SIGHUP");
  reloader.every(60_000);
}

const server = await echoServer(state);
const scripts: Record<string, () => Promise<void>> = {
  bind,
  forbid,
  hide,
  hurry,
  leave,
  mount,
  rotate,
  silence,
  starve,
};
await scripts[script]!();
if (script !== "leave") await reloader.close();
await server[Symbol.asyncDispose]();
console.log("leaving");
