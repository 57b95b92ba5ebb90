import { messageOf } from "../warnings.ts";
import type { ReloadResult } from "./reload_result.ts";
import type { ReloadFailure } from "./status.ts";

/**
 * The outcomes of past reloads. `failuresInARow` is 0 exactly if the last attempt that ended has succeeded, or none has
 * ended yet. `lastError` stays after a later success.
 */
export class ReloadHistory {
  readonly counts = { swapped: 0, unchanged: 0, rejected: 0 };
  lastAttempt: Date | undefined;
  lastSuccess: Date | undefined;
  lastError: ReloadFailure | undefined;
  failuresInARow = 0;
  #reportedFailure: string | undefined;

  /** Called when an attempt begins. */
  begin(): void {
    this.lastAttempt = new Date();
  }

  /**
   * Called when an attempt has ended.
   *
   * @param result The outcome.
   * @param readDigests What was last read of the watched files.
   * @returns Whether this is a failure that has yet to be reported: another error, or one of other files.
   */
  add(result: ReloadResult, readDigests: readonly string[]): boolean {
    this.counts[result.outcome]++;
    if (result.outcome !== "rejected") {
      this.lastSuccess = new Date();
      this.failuresInARow = 0;
      this.#reportedFailure = undefined;
      return false;
    }
    const [code, message] = [codeOf(result.error), messageOf(result.error)];
    this.lastError = { at: new Date(), code, message };
    this.failuresInARow++;
    const failure = [code, message, ...readDigests].join();
    const isNew = failure !== this.#reportedFailure;
    this.#reportedFailure = failure;
    return isNew;
  }
}

function codeOf(error: unknown): string | undefined {
  try {
    const { code } = Object(error);
    return typeof code === "string" ? code : undefined;
  } catch {
    return undefined;
  }
}
