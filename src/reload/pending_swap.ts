import type { TlsConfig } from "../config/tls_config.ts";
import { callAt } from "./clock.ts";

/** A proved configuration whose certificate is not valid yet. */
export interface PendingConfig {
  readonly config: TlsConfig;
  /** The first moment of its validity. */
  readonly validFrom: Date;
}

/** Keeps the newest configuration that is not valid yet, and calls back once it is. */
export class PendingSwap {
  readonly #onValid: (config: TlsConfig) => void;
  #pending: PendingConfig | undefined;
  #timer: Disposable | undefined;

  /** @param onValid Called once for a configuration, when it becomes valid. */
  constructor(onValid: (config: TlsConfig) => void) {
    this.#onValid = onValid;
  }

  /** What is pending now. */
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

  /** Forgets the configuration. */
  clear(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    this.#pending = undefined;
  }
}
