import { setTimeout as delay } from "node:timers/promises";
import { Backoff } from "../backoff.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { TlsReloadError } from "../errors.ts";
import { messageOf } from "../warnings.ts";
import type { FileWatch } from "./file_watch.ts";
import { codeOf } from "./logger.ts";
import type { ReloadFailure } from "./status.ts";

/** The number of retries if the files change while they are loaded. */
const MAX_RETRIES = 5;
const FIRST_PAUSE_MS = 10;

/**
 * Loads a configuration from its source.
 *
 * @param current The configuration that is served now.
 * @param onPartialFailure Reports a part of the source that cannot be loaded, while the others can: the `onError` of
 * `certificatesIn()`.
 */
export type Load = (current: TlsConfig, onPartialFailure: (error: unknown) => void) => Promise<TlsConfig>;

/**
 * Loads between two equal readings of the watched files, so that all content is of one version. Returns the
 * configuration and the digests of the files.
 *
 * @throws {TlsReloadError} `FILES_UNSTABLE` if the files change at every attempt.
 * @throws {unknown} The error of `load`.
 */
export async function loadWhole(load: () => Promise<TlsConfig>, watches: readonly FileWatch[]) {
  const read = () => Promise.all(watches.map((watch) => watch.read()));
  const backoff = new Backoff({ firstMs: FIRST_PAUSE_MS, lastMs: Infinity });
  for (let retry = 0; retry <= MAX_RETRIES; retry++) {
    if (retry > 0) await delay(backoff.nextPauseMs());
    const before = await read();
    const loading = (async () => await load())();
    await loading.catch(() => {});
    const after = await read();
    if (before.join() !== after.join()) continue;
    return { config: await loading, digests: new Map(watches.map((watch, index) => [watch, after[index]!])) };
  }
  const paths = watches.flatMap(({ paths }) => paths).map((path) => `"${path}"`);
  throw new TlsReloadError("FILES_UNSTABLE", `Cannot read files: they go on changing: ${paths.join(", ")}`);
}

/**
 * The parts of the source that the last load could not load. A part is reported once, until it has loaded or its error
 * is another one.
 */
export class PartialFailures {
  #errors: unknown[] = [];
  #reported: ReadonlySet<string> = new Set();
  #at: Date | undefined;

  /** The failures of the last load. */
  get list(): readonly ReloadFailure[] {
    return this.#errors.map((error) => ({ at: this.#at!, code: codeOf(error), message: messageOf(error) }));
  }

  /** Whether the last load was of all parts. */
  get isEmpty(): boolean {
    return this.#errors.length === 0;
  }

  /** Called when a load begins. */
  clear(): void {
    this.#errors = [];
  }

  /** Adds what a load reports. */
  add(error: unknown): void {
    this.#at = new Date();
    this.#errors.push(error);
  }

  /** Called when a load has ended. Returns the failures that were not reported by the load before. */
  takeNews(): readonly unknown[] {
    const isNews = (error: unknown) => !this.#reported.has(messageOf(error));
    const news = this.#errors.filter(isNews);
    this.#reported = new Set(this.#errors.map(messageOf));
    return news;
  }
}
