// What goes wrong around a server, each thing for a few seconds.
import { execFile, spawnSync } from "node:child_process";
import { appendFileSync, existsSync, readdirSync, statSync } from "node:fs";
import { chmod, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import type { Engine } from "../support/engines.ts";
import type { Random } from "./random.ts";
import type { ServerProcess } from "./server_process.ts";

const run = promisify(execFile);
const HOUR_MS = 3_600_000;
const DISK_BYTES = 256 << 10;
/** How often libfaketime reads the time that it shows. */
const CLOCK_CACHE_SECONDS = 1;
const FAKETIME = ["/usr/lib", "/usr/local/lib"].flatMap((folder) => [folder, ...subfolders(folder)])
  .map((folder) => join(folder, "faketime/libfaketimeMT.so.1")).find(existsSync);
const isRoot = process.getuid?.() === 0;

/** Something that goes wrong, and ends again. */
export interface Disturbance {
  readonly name: string;
  /** Why it cannot happen here. */
  readonly skip?: string | undefined;
  /** Whether new connections may fail, and swaps be late, until the server has recovered. */
  readonly excuses?: boolean;
  begin(random: Random): unknown;
  end(): unknown;
}

/** What disturbances work on. */
export interface Surroundings {
  readonly server: ServerProcess;
  readonly engines: Readonly<Record<string, Engine>>;
  readonly place: Place;
}

/** All disturbances. */
export function disturbancesOf({ server, engines, place }: Surroundings): readonly Disturbance[] {
  const files = async () => (await readdir(place.files)).map((name) => join(place.files, name));
  let filling: NodeJS.Timeout | undefined;
  const filler = join(place.files, "filler");
  return [
    {
      name: "server stopped",
      excuses: true,
      begin: () => process.kill(server.pid, "SIGSTOP"),
      end: () => process.kill(server.pid, "SIGCONT"),
    },
    fewDescriptors(server),
    {
      name: "clock stepped",
      skip: FAKETIME ? undefined : "libfaketime is not installed",
      begin: (random) => place.stepClock(random.between(-12 * HOUR_MS, 12 * HOUR_MS)),
      end: () => place.stepClock(0),
    },
    {
      name: "disk full",
      skip: place.isSmall ? undefined : "a small tmpfs cannot be mounted; run it as root",
      begin() {
        filling = setInterval(() => fill(filler), 10);
      },
      async end() {
        clearInterval(filling);
        await rm(filler, { force: true });
      },
    },
    {
      name: "files unreadable",
      skip: isRoot && !has("setpriv") ? "root reads them all the same, and setpriv is not installed" : undefined,
      async begin(random) {
        if (random.chance(0.5)) await chmod(place.files, 0);
        // A file may be renamed at this moment.
        else for (const path of await files()) await chmod(path, 0).catch(() => {});
      },
      async end() {
        await chmod(place.files, 0o700);
        for (const path of await files()) await chmod(path, 0o600).catch(() => {});
      },
    },
    ...Object.entries(engines).map(([name, engine]) => engineDisturbance(name, engine)),
  ];
}

function engineDisturbance(name: string, engine: Engine): Disturbance {
  let isKilled = false;
  return {
    name: `${name} killed or stopped`,
    begin(random) {
      isKilled = random.chance(0.5);
      return isKilled ? engine.kill() : engine.pause();
    },
    end: () => isKilled ? engine.resurrect() : engine.resume(),
  };
}

/** No descriptor above those that are open, and a crowd that takes the free ones below them. */
function fewDescriptors({ pid, targets }: ServerProcess): Disturbance {
  const limit = (soft: number | string) => run("prlimit", ["--pid", String(pid), `--nofile=${soft}:`]);
  let usual = "";
  let crowd: Socket[] = [];
  return {
    name: "few descriptors",
    skip: has("prlimit") ? undefined : "prlimit is not installed",
    excuses: true,
    async begin(random) {
      usual = /^Max open files +(\d+)/m.exec(await readFile(`/proc/${pid}/limits`, "utf8"))![1]!;
      const most = Math.max(...(await readdir(`/proc/${pid}/fd`)).map(Number)) + 1;
      await limit(most);
      const ports = (await targets).map(({ port }) => port);
      crowd = Array.from({ length: most }, () => {
        return connect({ host: "127.0.0.1", port: random.pick(ports) }).on("error", () => {});
      });
    },
    async end() {
      for (const socket of crowd) socket.destroy();
      await limit(usual);
    },
  };
}

function fill(path: string): void {
  const written = existsSync(path) ? statSync(path).size : 0;
  try {
    for (let left = DISK_BYTES - written; left > 0; left -= 4_096) appendFileSync(path, new Uint8Array(4_096));
  } catch {
    // Now it is full, but for less than a block.
  }
}

function has(program: string): boolean {
  return spawnSync(program, ["--version"]).error === undefined;
}

function subfolders(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
}

/** Where the server's files and its clock are: on a disk of its own that is small, if one can be mounted. */
export class Place implements AsyncDisposable {
  readonly files: string;
  readonly isSmall: boolean;
  readonly #clock: string;

  /** @param folder A folder of its own, with the folder `files` in it. */
  constructor(folder: string) {
    this.files = join(folder, "files");
    this.#clock = join(folder, "clock");
    const mount = ["-t", "tmpfs", "-o", `size=${DISK_BYTES},mode=700`, "tmpfs", this.files];
    this.isSmall = spawnSync("mount", mount).status === 0;
    // Also if the process ends before its time.
    if (this.isSmall) process.once("exit", () => this.#unmount());
  }

  /** Wraps the command of a server: its clock can be stepped, and root reads no file without permission. */
  launch(command: readonly string[]): { command: readonly string[]; env: Record<string, string> } {
    const plain = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"];
    const env = FAKETIME && {
      LD_PRELOAD: FAKETIME,
      FAKETIME_TIMESTAMP_FILE: this.#clock,
      FAKETIME_CACHE_DURATION: String(CLOCK_CACHE_SECONDS),
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
    };
    return { command: [...isRoot && has("setpriv") ? plain : [], ...command], env: env || {} };
  }

  /** Sets the server's clock so far ahead, or back. */
  async stepClock(offsetMs: number): Promise<void> {
    await writeFile(`${this.#clock}.new`, `${offsetMs < 0 ? "-" : "+"}${Math.abs(Math.round(offsetMs / 1_000))}`);
    await rename(`${this.#clock}.new`, this.#clock);
    await delay(CLOCK_CACHE_SECONDS * 1_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.isSmall) this.#unmount();
    await rm(join(this.files, ".."), { recursive: true, force: true });
  }

  #unmount(): void {
    spawnSync("umount", ["--lazy", this.files]);
  }
}
