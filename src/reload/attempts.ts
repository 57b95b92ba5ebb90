import type { ExpectUnused } from "../accept/authority_use.ts";
import type { TlsState } from "../accept/tls_state.ts";
import { digestOf } from "../config/digests.ts";
import { type Expectation, requireExpected } from "../config/expectation.ts";
import { proveTlsConfig } from "../config/proof.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { SingleFlight } from "../single_flight.ts";
import { changesOf } from "./changes.ts";
import type { FileWatch } from "./file_watch.ts";
import { ReloadHistory } from "./history.ts";
import { type Load, loadWhole, PartialFailures } from "./load.ts";
import { type PendingConfig, PendingSwap } from "./pending_swap.ts";
import type { ReloadResult } from "./reload_result.ts";
import { requireReplaceable } from "./validity.ts";

/** What {@linkcode ReloadAttempts} gets from its reloader. */
interface AttemptContext {
  /** How far ahead the validity of a certificate may begin. */
  readonly pendingLimitMs: number;
  /** What a configuration must be to replace the current one. */
  readonly expect?: Expectation | undefined;
  /** Which client authorities it may remove. */
  readonly expectUnused?: ExpectUnused | undefined;
  /**
   * Called when an attempt has ended, after the history has been updated, with whether to report the outcome. Repeated
   * failures and repeated delays are not reported.
   */
  readonly onEnd: (result: ReloadResult, isNews: boolean) => void;
  /** Called with each part of the source that cannot be loaded, before the attempt ends. */
  readonly onPartialFailure: (error: unknown) => void;
}

/**
 * Runs reloads: loads, compares, proves, swaps.
 *
 * Invariant: one attempt runs at a time. The state changes only to a configuration that was loaded from one version of
 * the files, was proved, differs from the current one, and is as expected. `loadedDigest` is the digest of the last
 * configuration that was loaded. A pending configuration was proved, and is discarded as soon as the source holds
 * another one.
 */
export class ReloadAttempts {
  readonly history = new ReloadHistory();
  /** The parts that the last load could not load, though it loaded the rest. */
  readonly partialFailures = new PartialFailures();
  /** The watched files: read before and after each load. */
  readonly watches = new Set<FileWatch>();
  readonly #state: TlsState;
  readonly #load: Load;
  readonly #context: AttemptContext;
  readonly #pending = new PendingSwap((config) => this.#swapPending(config));
  readonly #flight = new SingleFlight(() => this.#attempt());
  #replacedLoad: (() => Promise<TlsConfig>) | undefined;
  #isNextForced = false;
  #loadedDigest: string | undefined;
  constructor(state: TlsState, load: Load, context: AttemptContext) {
    this.#state = state;
    this.#load = load;
    this.#context = context;
  }

  /** Whether the current configuration is the last one that could be loaded. */
  get isLoadedServed(): boolean {
    return this.#loadedDigest === digestOf(this.#state.current());
  }

  /** The configuration that waits for its validity to begin. */
  get pending(): PendingConfig | undefined {
    return this.#pending.current;
  }

  /** Runs an attempt, or joins the one that begins after the current one. Never rejects. */
  run(isForced: boolean): Promise<ReloadResult> {
    this.#isNextForced ||= isForced;
    return this.#flight.run();
  }

  /** Replaces the function that loads. `undefined` restores the function of the constructor. */
  replaceLoad(load: (() => Promise<TlsConfig>) | undefined): void {
    this.#replacedLoad = load;
  }

  /** Discards a pending configuration. Resolves when the attempts that were requested until now have ended. */
  async close(): Promise<void> {
    this.#pending.clear();
    await this.#flight.settled();
    this.#pending.clear();
  }

  async #attempt(): Promise<ReloadResult> {
    const isForced = this.#isNextForced;
    this.#isNextForced = false;
    this.history.begin();
    const result = await this.#resultOf(isForced).catch((error): ReloadResult => {
      // No digest counts as loaded now, so the watches retry even if the files return to those of the last success.
      for (const watch of this.watches) watch.markLoaded(undefined);
      return { outcome: "rejected", error };
    });
    this.#end(result);
    return result;
  }

  #end(result: ReloadResult): void {
    const isNews = this.history.add(result, [...this.watches].map(({ readDigest }) => readDigest));
    this.#context.onEnd(result, isNews);
  }

  async #resultOf(isForced: boolean): Promise<ReloadResult> {
    const { config, digests } = await loadWhole(this.#replacedLoad ?? (() => this.#loadNow()), [...this.watches]);
    for (const error of this.partialFailures.takeNews()) this.#context.onPartialFailure(error);
    const result = await this.#swap(config, isForced);
    // Parts that could not be loaded are retried, though the files are the same.
    const isWhole = this.partialFailures.isEmpty;
    for (const [watch, digest] of digests) watch.markLoaded(isWhole ? digest : undefined);
    return result;
  }

  #loadNow(): Promise<TlsConfig> {
    this.partialFailures.clear();
    return this.#load(this.#state.current(), (error) => this.partialFailures.add(error));
  }

  async #swap(config: TlsConfig, isForced: boolean): Promise<ReloadResult> {
    this.#loadedDigest = digestOf(config);
    this.#pending.discardOthers(config);
    const { expect, pendingLimitMs } = this.#context;
    if (!this.isLoadedServed) {
      await proveTlsConfig(config);
      if (expect !== undefined) await requireExpected(config, expect);
    }
    // Compares after the proof, because a pending configuration may have become valid meanwhile.
    const current = this.#state.current();
    if (this.isLoadedServed) {
      this.#pending.clear();
      return { outcome: "unchanged", config: current };
    }
    const validFrom = isForced ? undefined : requireReplaceable(config, current, pendingLimitMs);
    if (validFrom !== undefined) {
      this.#pending.set({ config, validFrom });
      return { outcome: "pending", config, validFrom };
    }
    const result = this.#makeCurrent(config);
    this.#pending.clear();
    return result;
  }

  #makeCurrent(config: TlsConfig): ReloadResult {
    const previous = this.#state.swap(config, { expectUnused: this.#context.expectUnused });
    return { outcome: "swapped", config, previous, changes: changesOf(previous, config) };
  }

  /** Called when the pending configuration becomes valid. It was proved when it was loaded. */
  #swapPending(config: TlsConfig): void {
    const current = this.#state.current();
    if (digestOf(config) === digestOf(current)) return;
    try {
      requireReplaceable(config, current, this.#context.pendingLimitMs);
      const result = this.#makeCurrent(config);
      this.history.addPendingSwap();
      this.#context.onEnd(result, true);
    } catch (error) {
      for (const watch of this.watches) watch.markLoaded(undefined);
      this.#end({ outcome: "rejected", error });
    }
  }
}
