import { clearTimeout, setTimeout } from "node:timers";
import type { TlsState } from "../accept/tls_state.ts";
import { numberOrKind, requireOptions } from "../arguments.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import {
  type UsedCertificate,
  usedCertificates,
  type UsedRevocationList,
  usedRevocationLists,
} from "./used_certificates.ts";

/** The levels at which alarms are raised. Each value is one level. */
export interface ExpiryLevels {
  /**
   * Remaining shares of the life of a certificate or revocation list. 0 is the expiry.
   *
   * @default {[1 / 5, 1 / 10, 0]}
   */
  readonly remainingShares?: readonly number[] | undefined;
  /**
   * Remaining times, in milliseconds.
   *
   * @default {[]}
   */
  readonly remainingMs?: readonly number[] | undefined;
}

/** A certificate in use that expires soon or has expired, or a revocation list that becomes stale or is stale. */
export type ExpiryAlarm = (UsedCertificate | UsedRevocationList) & {
  /** The number of levels that have been reached, at least 1. */
  readonly level: number;
  /** The remaining validity; negative once it has ended. */
  readonly remainingMs: number;
};

/** Something in use whose validity ends. */
interface Expiring {
  readonly subject: UsedCertificate | UsedRevocationList;
  readonly fingerprint256: string;
  readonly beginMs: number;
  readonly endMs: number;
}

/**
 * The interval at which the clock is read, because timers stop while a machine sleeps and ignore changes of the clock.
 */
const LOOK_EVERY_MS = 60_000;
/** The maximum number of certificates and lists that are remembered after their use. */
const MAX_REMEMBERED = 1_000;

/**
 * Raises an alarm when a certificate or revocation list in use reaches a level.
 *
 * Invariant: each of them raises one alarm for each level, also if it is replaced and used again later. Several levels
 * that pass at once, for example while the machine sleeps, raise one alarm. If the clock is set back, levels are reset.
 */
export class ExpiryAlarms {
  readonly #shares: readonly number[];
  readonly #times: readonly number[];
  readonly #raise: (alarm: ExpiryAlarm) => void;
  /** The level that each one has reached, by its fingerprint, for those that have reached one. */
  readonly #reached = new Map<string, number>();
  #config: TlsConfig | undefined;
  #timer: NodeJS.Timeout | undefined;
  constructor(levels: ExpiryLevels, raise: (alarm: ExpiryAlarm) => void) {
    requireOptions("expiryAlarms of Reloader", levels, ["remainingShares", "remainingMs"]);
    this.#shares = levels.remainingShares ?? [1 / 5, 1 / 10, 0];
    this.#times = levels.remainingMs ?? [];
    for (const level of [...this.#shares, ...this.#times]) {
      if (typeof level === "number" && level >= 0) continue;
      throw new TypeError(`Cannot set expiry alarms: each level must be a number from 0: ${numberOrKind(level)}`);
    }
    this.#raise = raise;
  }

  /** Watches what a state serves, until the returned disposable is disposed of. */
  follow(state: TlsState): Disposable {
    this.watch(state.current());
    const subscription = state.subscribe(({ config }) => this.watch(config));
    return {
      [Symbol.dispose]: () => {
        subscription[Symbol.dispose]();
        this.close();
      },
    };
  }

  /** Watches the certificates and lists of this configuration, in place of the previous one. */
  watch(config: TlsConfig): void {
    this.#config = config;
    clearTimeout(this.#timer);
    // Deferred, so that a swap is short, and that the caller can add listeners to a new reloader first.
    this.#timer = setTimeout(() => this.#lookAgain(), 0).unref();
  }

  /** Compares the clock with the certificates and lists, and raises the alarms that are due. */
  look(): void {
    if (!this.#config) return;
    const used = expiringOf(this.#config);
    for (const { subject, fingerprint256, beginMs, endMs } of used) {
      const remainingMs = endMs - Date.now();
      const level = this.#levelAt(remainingMs, endMs - beginMs);
      const before = this.#reached.get(fingerprint256) ?? 0;
      this.#remember(fingerprint256, level);
      if (level > before) this.#raise({ ...subject, level, remainingMs });
    }
    this.#forgetOldest(MAX_REMEMBERED + used.length);
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #lookAgain(): void {
    this.#timer = setTimeout(() => this.#lookAgain(), LOOK_EVERY_MS).unref();
    this.look();
  }

  #levelAt(remainingMs: number, lifeMs: number): number {
    const limits = [...this.#shares.map((share) => share * lifeMs), ...this.#times];
    return limits.filter((limit) => remainingMs <= limit).length;
  }

  #remember(fingerprint256: string, level: number): void {
    // Deleted first, so that the map is in the order of use.
    this.#reached.delete(fingerprint256);
    if (level > 0) this.#reached.set(fingerprint256, level);
  }

  #forgetOldest(limit: number): void {
    for (const oldest of this.#reached.keys()) {
      if (this.#reached.size <= limit) return;
      this.#reached.delete(oldest);
    }
  }
}

/** A list without a nextUpdate never becomes stale. */
function expiringOf(config: TlsConfig): Expiring[] {
  const certificates = usedCertificates(config).map((subject) => {
    const { fingerprint256, notBefore, notAfter } = subject.certificate;
    return { subject, fingerprint256, beginMs: notBefore.getTime(), endMs: notAfter.getTime() };
  });
  const lists = usedRevocationLists(config).flatMap((subject) => {
    const { fingerprint256, thisUpdate, nextUpdate } = subject.revocationList;
    return nextUpdate ? [{ subject, fingerprint256, beginMs: thisUpdate.getTime(), endMs: nextUpdate.getTime() }] : [];
  });
  return [...certificates, ...lists];
}
