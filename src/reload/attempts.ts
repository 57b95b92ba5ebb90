import type { TlsState } from "../accept/tls_state.ts";
import { proveTlsConfig } from "../config/proof.ts";
import { digestOf } from "../config/digests.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { SingleFlight } from "../single_flight.ts";
import type { FileWatch } from "./file_watch.ts";
import { ReloadHistory } from "./history.ts";
import { loadWhole } from "./load_whole.ts";
import type { ReloadResult } from "./reload_result.ts";
import { requireNoWorse } from "./validity.ts";

/** Called with each outcome, and whether it is a failure that has not been reported yet. */
type EndListener = (result: ReloadResult, isNewFailure: boolean) => void;

/**
 * Runs reloads: loads, compares, proves, swaps.
 *
 * One attempt runs at a time. The state changes only by a configuration that was loaded whole and proved, and that
 * differs from the current one. `loadedDigest` is that of the last configuration that could be loaded.
 */
export class ReloadAttempts {
  readonly history = new ReloadHistory();
  /** The watched files: read before and after each load. */
  readonly watches = new Set<FileWatch>();
  readonly #state: TlsState;
  readonly #load: () => Promise<TlsConfig>;
  readonly #onEnd: EndListener;
  readonly #flight = new SingleFlight(() => this.#attempt());
  #isNextForced = false;
  #loadedDigest: string | undefined;

  /**
   * @param state What to keep in sync.
   * @param load Loads the configuration.
   * @param onEnd Called when an attempt has ended, after the history has been updated.
   */
  constructor(state: TlsState, load: () => Promise<TlsConfig>, onEnd: EndListener) {
    this.#state = state;
    this.#load = load;
    this.#onEnd = onEnd;
  }

  /** Whether the current configuration is the last one that could be loaded. */
  get isLoadedServed(): boolean {
    return this.#loadedDigest === digestOf(this.#state.current());
  }

  /** Runs an attempt, or joins the one that begins after the current one. Never rejects. */
  run(isForced: boolean): Promise<ReloadResult> {
    this.#isNextForced ||= isForced;
    return this.#flight.run();
  }

  /** Resolves when the attempts that were asked for until now have ended. */
  settled(): Promise<void> {
    return this.#flight.settled();
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
    const isNewFailure = this.history.add(result, [...this.watches].map(({ readDigest }) => readDigest));
    this.#onEnd(result, isNewFailure);
    return result;
  }

  async #resultOf(isForced: boolean): Promise<ReloadResult> {
    const { config, digests } = await loadWhole(this.#load, [...this.watches]);
    const result = await this.#swap(config, isForced);
    for (const [watch, digest] of digests) watch.markLoaded(digest);
    return result;
  }

  async #swap(config: TlsConfig, isForced: boolean): Promise<ReloadResult> {
    const digest = digestOf(config);
    this.#loadedDigest = digest;
    const current = this.#state.current();
    if (digest === digestOf(current)) return { outcome: "unchanged", config: current };
    await proveTlsConfig(config);
    if (!isForced) requireNoWorse(config.leaf, this.#state.current().leaf);
    return { outcome: "swapped", config, previous: this.#state.swap(config) };
  }
}
