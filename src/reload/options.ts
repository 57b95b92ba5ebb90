import type { ExpiryLevels } from "./expiry_alarms.ts";
import type { Logger } from "./logger.ts";

/** The options of a {@linkcode Reloader}. */
export interface ReloaderOptions {
  /** Closes the reloader when aborted. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Gets one line for each event: `console`, a logger of pino, of LogTape, or another. With a logger, failures are not
   * emitted as process warnings.
   */
  readonly logger?: Logger | undefined;
  /**
   * How far ahead the validity of a certificate may begin. Such a certificate is kept, and swapped in when it becomes
   * valid. Beyond the limit it is rejected.
   *
   * @default {86_400_000}
   */
  readonly pendingLimitMs?: number | undefined;
  /** When the `expiring` event is dispatched. By default at 1/5 and 1/10 of a certificate's life, and at its expiry. */
  readonly expiryAlarms?: ExpiryLevels | undefined;
}

/** The options of {@linkcode Reloader.watch}. */
export interface WatchOptions {
  /**
   * How often the files are read, whatever the system reports. `Infinity` relies on its reports.
   *
   * @default {10_000}
   */
  readonly pollIntervalMs?: number | undefined;
  /**
   * The pause between the first report of a change and the reading, so that a change of several files is complete.
   * `Infinity` leaves it to the poll.
   *
   * @default {250}
   */
  readonly settleMs?: number | undefined;
}

/** The options of a reloader, for `requireOptions()`. */
export const RELOADER_OPTION_NAMES: readonly string[] = ["signal", "logger", "pendingLimitMs", "expiryAlarms"];
/** The options of a watch, for `requireOptions()`. */
export const WATCH_OPTION_NAMES: readonly string[] = ["pollIntervalMs", "settleMs"];
