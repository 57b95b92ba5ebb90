import type { TlsState } from "../accept/tls_state.ts";
import { proveTlsConfig } from "../config/proof.ts";
import { digestOf } from "../config/digests.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { SingleFlight } from "../single_flight.ts";
import type { FileWatch } from "./file_watch.ts";
import { ReloadHistory } from "./history.ts";
import { loadWhole } from "./load_whole.ts";
import type { ReloadResult } from "./reload_result.ts";
import { type PendingConfig, PendingSwap } from "./pending_swap.ts";
import { requireReplaceable } from "./validity.ts";

/** Called with each outcome, and whether it is to be reported: repeated failures and repeated delays are not. */
type EndListener = (result: ReloadResult, isNews: boolean) => void;

/** The options of {@linkcode ReloadAttempts}. */
export interface AttemptOptions {
  /** How far ahead the validity of a certificate may begin. */
  readonly pendingLimitMs: number;
  /** Called when an attempt has ended, after the history has been updated. */
  readonly onEnd: EndListener;
}

/**
 * Runs reloads: loads, compares, proves, swaps.
 *
 * One attempt runs at a time. The state changes only by a configuration that was loaded whole and proved, and that
 * differs from the current one. `loadedDigest` is that of the last configuration that could be loaded. What is pending
 * was proved, is newer than the current configuration, and is forgotten as soon as the source holds anything else.
 */
export class ReloadAttempts {
  readonly history = new ReloadHistory();
  /** The watched files: read before and after each load. */
  readonly watches = new Set<FileWatch>();
  readonly #state: TlsState;
  readonly #load: () => Promise<TlsConfig>;
  readonly #onEnd: EndListener;
  readonly #pendingLimitMs: number;
  readonly #pending = new PendingSwap((config) => this.#swapPending(config));
  readonly #flight = new SingleFlight(() => this.#attempt());
  #replacedLoad: (() => Promise<TlsConfig>) | undefined;
  #isNextForced = false;
  #loadedDigest: string | undefined;

  /**
   * @param state What to keep in sync.
   * @param load Loads the configuration.
   * @param options How far ahead a validity may begin, and what is called when an attempt has ended.
   */
  constructor(state: TlsState, load: () => Promise<TlsConfig>, options: AttemptOptions) {
    this.#state = state;
    this.#load = load;
    this.#pendingLimitMs = options.pendingLimitMs;
    this.#onEnd = options.onEnd;
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

  /** Loads by this function from now on; by the one of the constructor again, if it is `undefined`. */
  replaceLoad(load: (() => Promise<TlsConfig>) | undefined): void {
    this.#replacedLoad = load;
  }

  /** Forgets what is pending, and resolves when the attempts that were asked for until now have ended. */
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
      // No digest counts as loaded now, so the watches retry, even if the files are those of the last success again.
      for (const watch of this.watches) watch.markLoaded(undefined);
      return { outcome: "rejected", error };
    });
    this.#end(result);
    return result;
  }

  #end(result: ReloadResult): void {
    const isNews = this.history.add(result, [...this.watches].map(({ readDigest }) => readDigest));
    this.#onEnd(result, isNews);
  }

  async #resultOf(isForced: boolean): Promise<ReloadResult> {
    const { config, digests } = await loadWhole(this.#replacedLoad ?? this.#load, [...this.watches]);
    const result = await this.#swap(config, isForced);
    for (const [watch, digest] of digests) watch.markLoaded(digest);
    return result;
  }

  async #swap(config: TlsConfig, isForced: boolean): Promise<ReloadResult> {
    this.#loadedDigest = digestOf(config);
    if (!this.isLoadedServed) await proveTlsConfig(config);
    // Compared after the proof as well: a pending configuration may have become valid meanwhile.
    const current = this.#state.current();
    if (this.isLoadedServed) {
      this.#pending.clear();
      return { outcome: "unchanged", config: current };
    }
    const validFrom = isForced ? undefined : requireReplaceable(config, current, this.#pendingLimitMs);
    if (validFrom !== undefined) {
      this.#pending.set({ config, validFrom });
      return { outcome: "pending", config, validFrom };
    }
    const previous = this.#state.swap(config);
    this.#pending.clear();
    return { outcome: "swapped", config, previous };
  }

  /** Called when the pending configuration becomes valid. It was proved when it was loaded. */
  #swapPending(config: TlsConfig): void {
    const current = this.#state.current();
    if (digestOf(config) === digestOf(current)) return;
    try {
      requireReplaceable(config, current, this.#pendingLimitMs);
      const previous = this.#state.swap(config);
      this.history.addPendingSwap();
      this.#onEnd({ outcome: "swapped", config, previous }, true);
    } catch (error) {
      for (const watch of this.watches) watch.markLoaded(undefined);
      this.#end({ outcome: "rejected", error });
    }
  }
}
