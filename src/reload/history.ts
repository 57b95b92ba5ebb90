import { messageOf } from "../warnings.ts";
import { codeOf } from "./logger.ts";
import type { ReloadResult } from "./reload_result.ts";
import type { ReloadFailure } from "./status.ts";

/**
 * The outcomes of past reloads. `failuresInARow` is 0 exactly if the last attempt that ended has succeeded, or none has
 * ended yet. `lastError` stays after a later success.
 */
export class ReloadHistory {
  readonly counts = { swapped: 0, unchanged: 0, pending: 0, rejected: 0 };
  lastAttempt: Date | undefined;
  lastSuccess: Date | undefined;
  lastSwap: Date | undefined;
  lastError: ReloadFailure | undefined;
  failuresInARow = 0;
  /** What was last reported as a failure, or as pending. */
  #reported: string | undefined;

  /** Called when an attempt begins. */
  begin(): void {
    this.lastAttempt = new Date();
  }

  /**
   * Called when an attempt has ended.
   *
   * @param result The outcome.
   * @param readDigests What was last read of the watched files.
   * @returns Whether the outcome is to be reported. A failure is, unless error and files are those of the last report;
   * a pending configuration is, unless it was the last report.
   */
  add(result: ReloadResult, readDigests: readonly string[]): boolean {
    this.counts[result.outcome]++;
    if (result.outcome !== "rejected") {
      this.lastSuccess = new Date();
      if (result.outcome === "swapped") this.lastSwap = this.lastSuccess;
      this.failuresInARow = 0;
      return this.#isNews(result.outcome === "pending" ? result.config.leaf.fingerprint256 : undefined);
    }
    const [code, message] = [codeOf(result.error), messageOf(result.error)];
    this.lastError = { at: new Date(), code, message };
    this.failuresInARow++;
    return this.#isNews([code, message, ...readDigests].join());
  }

  /** Counts the swap of a pending configuration. It says nothing about the source, so failures stay as they are. */
  addPendingSwap(): void {
    this.counts.swapped++;
    this.lastSwap = new Date();
  }

  #isNews(report: string | undefined): boolean {
    const isNews = report === undefined || report !== this.#reported;
    this.#reported = report;
    return isNews;
  }
}
