import { digestOf } from "../config/digests.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { callAt } from "./clock.ts";

/** A proved configuration whose certificate is not valid yet. */
export interface PendingConfig {
  readonly config: TlsConfig;
  /** The first moment of the validity. */
  readonly validFrom: Date;
}

/**
 * Keeps the newest configuration that is not valid yet, and calls back once it is valid.
 *
 * Invariant: the timer is set exactly while a configuration is pending.
 */
export class PendingSwap {
  readonly #onValid: (config: TlsConfig) => void;
  #pending: PendingConfig | undefined;
  #timer: Disposable | undefined;

  /** @param onValid Called once for a configuration, when it becomes valid. */
  constructor(onValid: (config: TlsConfig) => void) {
    this.#onValid = onValid;
  }

  /** The pending configuration. */
  get current(): PendingConfig | undefined {
    return this.#pending;
  }

  /** Keeps this configuration in place of the previous one. */
  set(pending: PendingConfig): void {
    this.clear();
    this.#pending = pending;
    this.#timer = callAt(pending.validFrom, () => {
      this.clear();
      this.#onValid(pending.config);
    });
  }

  /** Discards the configuration, unless it is this one. */
  discardOthers(config: TlsConfig): void {
    if (this.#pending && digestOf(this.#pending.config) !== digestOf(config)) this.clear();
  }

  /** Discards the configuration. */
  clear(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    this.#pending = undefined;
  }
}
