// Servers on several runtimes, each in a process of its own, that follow one store.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { MemberLine } from "./fleet_member.ts";
import type { Runtime } from "./runtimes.ts";
import type { STORES } from "./stores.ts";

const PROGRAM = fileURLToPath(new URL("fleet_member.ts", import.meta.url));

/** A value of a metric. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A server of a fleet. */
export class Member {
  /** Its runtime and number, such as `deno 2`. */
  readonly name: string;
  readonly port: number;
  /** The codes of all rejections. */
  readonly rejections: string[] = [];
  readonly #statusPort: number;
  readonly #child: ChildProcess;
  readonly #swaps: string[] = [];
  #onSwap = () => {};

  private constructor(name: string, child: ChildProcess, ports: NonNullable<MemberLine["ports"]>) {
    this.name = name;
    this.port = ports.tls;
    this.#statusPort = ports.status;
    this.#child = child;
  }

  static async start(name: string, { path, runArgs }: Runtime, args: readonly string[]): Promise<Member> {
    const child = spawn(path, [...runArgs, PROGRAM, ...args], { stdio: ["pipe", "pipe", "inherit"] });
    child.stdin.on("error", () => {});
    const lines = createInterface({ input: child.stdout });
    const [first] = await Promise.race([once(lines, "line"), once(child, "exit")]);
    if (typeof first !== "string") throw new Error(`${name} did not start`);
    const member = new Member(name, child, (JSON.parse(first) as MemberLine).ports!);
    lines.on("line", (line) => member.#hear(JSON.parse(line)));
    return member;
  }

  /** Resolves once the member has swapped in a certificate since its start. */
  async swapped(fingerprint256: string): Promise<void> {
    while (!this.#swaps.includes(fingerprint256)) await new Promise<void>((resolve) => this.#onSwap = resolve);
  }

  /** Reads its metrics. */
  async metrics(): Promise<Sample[]> {
    const text = await (await fetch(`http://127.0.0.1:${this.#statusPort}/metrics`)).text();
    return [...text.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)].map(([, name = "", labels = "", value]) => ({
      name,
      labels: Object.fromEntries(
        [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, value]) => [key, value]),
      ),
      value: Number(value),
    }));
  }

  async stop(): Promise<void> {
    const exited = once(this.#child, "exit");
    this.#child.stdin!.end();
    await exited;
  }

  #hear({ swapped, rejected }: MemberLine): void {
    if (rejected !== undefined) this.rejections.push(rejected);
    if (swapped === undefined) return;
    this.#swaps.push(swapped);
    this.#onSwap();
  }
}

/** Members of each runtime in turn. */
export class Fleet implements AsyncDisposable {
  readonly members: readonly Member[];

  private constructor(members: readonly Member[]) {
    this.members = members;
  }

  /**
   * Starts a fleet.
   *
   * @param runtimes The runtimes, by their names.
   * @param size The number of members of each runtime.
   * @param store The store that they follow, its port, and the splay of their reloads.
   */
  static async start(
    runtimes: Readonly<Record<string, Runtime>>,
    size: number,
    store: { readonly name: keyof typeof STORES; readonly port: number; readonly splayMs?: number },
  ): Promise<Fleet> {
    const args = [store.name, `${store.port}`, `${store.splayMs ?? 0}`];
    const members = Object.entries(runtimes).map(([name, runtime]) => {
      return Promise.all(Array.from({ length: size }, (_, index) => {
        return Member.start(`${name} ${index + 1}`, runtime, args);
      }));
    });
    return new Fleet((await Promise.all(members)).flat());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.members.map((member) => member.stop()));
  }
}
