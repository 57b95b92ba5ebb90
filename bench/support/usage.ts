// What the system says that processes use, with all that they have started. Linux only.
import { readdir, readFile } from "node:fs/promises";

/** `/proc/PID/stat` counts in hundredths of a second. */
const TICK_MS = 10;

/** Processor time of the threads that live, in nanoseconds by the kernel, and of children that have ended, in ticks. */
export async function cpuMs(pids: readonly number[]): Promise<number> {
  const times = await Promise.all((await withChildren(pids)).map(async (pid) => {
    const threads = await readEach(pid, "schedstat");
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    // After the name, which may hold anything: cutime and cstime (proc(5)).
    const ended = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(13, 15);
    return sumOf(threads.map((thread) => Number(thread.split(" ")[0]))) / 1e6 + sumOf(ended.map(Number)) * TICK_MS;
  }));
  return sumOf(times);
}

/** Resident memory that is no file: the pages of a program count for less while another process runs it as well. */
export async function memoryKiB(pids: readonly number[]): Promise<number> {
  const sizes = await Promise.all((await withChildren(pids)).map(async (pid) => {
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, "utf8");
    return Number(/^Anonymous:\s+(\d+) kB/m.exec(rollup)?.[1]);
  }));
  return sumOf(sizes);
}

async function withChildren(pids: readonly number[]): Promise<readonly number[]> {
  const children = await Promise.all(pids.map(async (pid) => {
    return withChildren((await readEach(pid, "children")).join("").split(" ").filter(Boolean).map(Number));
  }));
  return [...pids, ...children.flat()];
}

/** Reads a file of each thread of a process. */
async function readEach(pid: number, name: string): Promise<readonly string[]> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => []);
  return await Promise.all(threads.map((thread) => {
    return readFile(`/proc/${pid}/task/${thread}/${name}`, "utf8").catch(() => "");
  }));
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
