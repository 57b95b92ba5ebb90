import { setTimeout as delay } from "node:timers/promises";
import { Backoff } from "../backoff.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { TlsReloadError } from "../errors.ts";
import type { FileWatch } from "./file_watch.ts";

/** The number of retries if the files change while they are loaded. */
const MAX_RETRIES = 5;
const FIRST_PAUSE_MS = 10;

/** A configuration, and the digests of its watched files. */
export interface WholeLoad {
  readonly config: TlsConfig;
  readonly digests: ReadonlyMap<FileWatch, string>;
}

/**
 * Loads between two equal readings of the watched files, so that all content is of one version.
 *
 * @param load Loads the configuration.
 * @param watches The files that `load` reads.
 * @returns The configuration and the digests.
 * @throws {TlsReloadError} `FILES_UNSTABLE` if the files change at every attempt.
 * @throws {unknown} The error of `load`.
 */
export async function loadWhole(
  load: () => Promise<TlsConfig>,
  watches: readonly FileWatch[],
): Promise<WholeLoad> {
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
