import type { ExpectUnused } from "../accept/authority_use.ts";
import type { Expectation } from "../config/expectation.ts";
import type { ExpiryLevels } from "./expiry_alarms.ts";
import type { Logger } from "./logger.ts";

/** The options of a {@linkcode Reloader}. */
export interface ReloaderOptions {
  /** Closes the reloader when aborted. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Logs one line for each event: `console`, a logger of pino, of LogTape, or another. With a logger, no process
   * warnings are emitted for failures.
   */
  readonly logger?: Logger | undefined;
  /**
   * The longest time until the validity of a certificate begins. Such a certificate is kept, and swapped in when it
   * becomes valid. Beyond the limit it is rejected.
   *
   * @default {86_400_000}
   */
  readonly pendingLimitMs?: number | undefined;
  /** When the `expiring` event is dispatched. By default at 1/5 and 1/10 of a certificate's life, and at its expiry. */
  readonly expiryAlarms?: ExpiryLevels | undefined;
  /**
   * What a configuration must be to replace the current one, beside able to serve. A reload that loads another one is
   * rejected with `EXPECTATION_FAILED`.
   */
  readonly expect?: Expectation | undefined;
  /**
   * Rejects a reload with `AUTHORITY_IN_USE` if it removes a client authority that a client has used within this time,
   * or uses now. A watch retries, so the authority is removed once it is unused. Until then nothing else of that
   * configuration is served either.
   */
  readonly expectUnused?: ExpectUnused | undefined;
}

/** The options of {@linkcode Reloader.watch}. */
export interface WatchOptions {
  /**
   * The interval at which the files are read without an event. `Infinity` relies on the events of the system.
   *
   * @default {10_000}
   */
  readonly pollIntervalMs?: number | undefined;
  /**
   * The pause between the first event of a change and the reading, so that a change of several files is complete.
   * `Infinity` ignores events.
   *
   * @default {250}
   */
  readonly settleMs?: number | undefined;
}

/** The options of a reloader, for `requireOptions()`. */
export const RELOADER_OPTION_NAMES: readonly string[] = [
  "signal",
  "logger",
  "pendingLimitMs",
  "expiryAlarms",
  "expect",
  "expectUnused",
];
/** The options of a watch, for `requireOptions()`. */
export const WATCH_OPTION_NAMES: readonly string[] = ["pollIntervalMs", "settleMs"];
