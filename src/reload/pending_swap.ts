import { clearTimeout, setTimeout } from "node:timers";
import { digestOf } from "../config/digests.ts";
import type { TlsConfig } from "../config/tls_config.ts";

/** The longest time before a change of the clock, or the end of a sleep of the machine, is noticed. */
const MAX_PAUSE_MS = 1_000;

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

/**
 * Calls a function once the clock of the machine has reached a time. Timers stop while a machine sleeps and do not
 * notice that the clock was set, so the clock is read again every second. Keeps no process alive. Never calls before it
 * returns; disposing of the result prevents the call.
 */
function callAt(at: Date, callback: () => void): Disposable {
  let timer: NodeJS.Timeout;
  const look = () => {
    if (Date.now() >= at.getTime()) callback();
    else wait();
  };
  const wait = () => {
    const ms = Math.max(0, at.getTime() - Date.now());
    timer = setTimeout(look, Math.min(ms, MAX_PAUSE_MS)).unref();
  };
  wait();
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}
