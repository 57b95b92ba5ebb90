import { messageOf } from "../warnings.ts";
import { codeOf } from "./logger.ts";
import type { ReloadResult } from "./reload_result.ts";
import type { ReloadFailure } from "./status.ts";

/**
 * The outcomes of past reloads.
 *
 * Invariant: `failuresInARow` is 0 exactly if the last attempt has succeeded, or no attempt has ended yet. `lastError`
 * is kept after a later success.
 */
export class ReloadHistory {
  readonly counts = { swapped: 0, unchanged: 0, pending: 0, rejected: 0 };
  lastAttempt: Date | undefined;
  lastSuccess: Date | undefined;
  lastSwap: Date | undefined;
  lastError: ReloadFailure | undefined;
  failuresInARow = 0;
  /** The failure, or the pending certificate, that was reported last. */
  #reported: string | undefined;

  /** Called when an attempt begins. */
  begin(): void {
    this.lastAttempt = new Date();
  }

  /**
   * Called when an attempt has ended.
   *
   * @param result The outcome.
   * @param readDigests The digests of the watched files at the last reading.
   * @returns Whether to report the outcome. A failure is not reported again while error and files stay the same, and a
   * pending certificate is not reported again while it is the same.
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
    // The message about an authority names its last client, which changes while clients connect.
    const reason = code === "AUTHORITY_IN_USE" ? code : message;
    return this.#isNews([code, reason, ...readDigests].join());
  }

  /** Counts the swap of a pending configuration. Keeps the count of failures, because the source was not read. */
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
