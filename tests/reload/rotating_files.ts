import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { loadTlsConfig, TlsState } from "../../mod.ts";
import { Reloader, type ReloaderEventMap, type WatchOptions } from "../../src/reload.ts";
import type { Issued } from "../support/certificates.ts";
import { type EchoServer, echoServer, visit } from "../support/peers.ts";

/** Far longer than any test: what is set to it does not happen. */
export const NEVER_MS = 3_600_000;
/** Changes are found by events alone; only what was rejected or missing is looked at again without one. */
export const BY_EVENTS: WatchOptions = { pollIntervalMs: NEVER_MS, settleMs: 20 };
/** Changes are found by polling alone. */
export const BY_POLLING: WatchOptions = { pollIntervalMs: 50, settleMs: NEVER_MS };

/** The next event of a type. A reloader keeps no process alive, so this does. */
export async function nextEvent<Type extends keyof ReloaderEventMap>(
  reloader: Reloader,
  type: Type,
): Promise<ReloaderEventMap[Type]> {
  const alive = setInterval(() => {}, NEVER_MS);
  const [event] = await once(reloader, type);
  clearInterval(alive);
  return event;
}

/** How many directories this process watches, as Linux reports it. */
export async function inotifyWatches(): Promise<number> {
  const infos = (await readdir("/proc/self/fdinfo")).map((fd) => {
    return readFile(`/proc/self/fdinfo/${fd}`, "utf8").catch(() => "");
  });
  return (await Promise.all(infos)).join("").match(/^inotify wd:/gm)?.length ?? 0;
}

/** A server that follows two files, with a client that connects all the while. */
export class RotatingServer {
  readonly reloader: Reloader;
  readonly state: TlsState;
  readonly server: EchoServer;
  readonly #fingerprints: string[] = [];
  #failed = 0;
  #isOpen = true;
  readonly #visiting: Promise<void>;

  private constructor(reloader: Reloader, state: TlsState, server: EchoServer) {
    this.reloader = reloader;
    this.state = state;
    this.server = server;
    reloader.addEventListener("reject", (event) => event.preventDefault());
    this.#visiting = this.#visit();
  }

  /** Starts to serve, and to watch if that is how it is to reload; then it waits for the first look at the files. */
  static async start(cert: string, key: string, options?: WatchOptions): Promise<RotatingServer> {
    const load = () => loadTlsConfig(cert, key);
    const state = new TlsState(await load());
    const reloader = new Reloader(state, load);
    const rotating = new RotatingServer(reloader, state, await echoServer(state, { handshakeTimeoutMs: NEVER_MS }));
    if (options) {
      const looked = nextEvent(reloader, "unchanged");
      reloader.watch([cert, key], options);
      await looked;
    }
    return rotating;
  }

  /** The certificate that a client is served now. */
  async served(): Promise<string | undefined> {
    return (await visit(this.server.port)).fingerprint256;
  }

  /** Waits until a configuration with this certificate has been swapped in, and gives what a client is served then. */
  async servedAfterSwapTo(issued: Issued): Promise<string | undefined> {
    while (this.state.current().leaf.fingerprint256 !== issued.fingerprint256) await nextEvent(this.reloader, "swap");
    return await this.served();
  }

  /** Waits for the files to be looked at once more, from now on. */
  async looked(): Promise<void> {
    const seen = () => this.reloader.status().watches[0]?.checkedAt?.getTime() ?? 0;
    const asked = Date.now();
    while (seen() <= asked) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  /** Ends all of it, and returns what the client was served, each certificate once in a row, and how often it failed. */
  async stop(): Promise<{ served: readonly string[]; failed: number }> {
    this.#isOpen = false;
    await this.#visiting;
    await this.reloader.close();
    await this.server[Symbol.asyncDispose]();
    return { served: this.#fingerprints, failed: this.#failed };
  }

  async #visit(): Promise<void> {
    while (this.#isOpen) {
      const { fingerprint256, greeting } = await visit(this.server.port);
      if (greeting === undefined) this.#failed++;
      else if (this.#fingerprints.at(-1) !== fingerprint256) this.#fingerprints.push(fingerprint256!);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
