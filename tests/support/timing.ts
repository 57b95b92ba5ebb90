import process from "node:process";

/**
 * The least time in milliseconds that some runs take: by the clock or by the processor, whichever is less. Other
 * processes make a run slower by the clock, and threads of the runtime make it slower by the processor.
 */
export async function fastestOf(runs: number, body: () => unknown): Promise<number> {
  let fastest = Infinity;
  for (let run = 0; run < runs; run++) {
    const [start, cpu] = [performance.now(), process.cpuUsage()];
    await body();
    const { user, system } = process.cpuUsage(cpu);
    fastest = Math.min(fastest, performance.now() - start, (user + system) / 1000 || Infinity);
  }
  return fastest;
}
