import { clearTimeout, setTimeout } from "node:timers";
import type { TlsConfig } from "../config/tls_config.ts";
import type { Certificate } from "../x509/certificate.ts";
import { type CertificateRole, type UsedCertificate, usedCertificates } from "./used_certificates.ts";

/** When alarms are raised: each value is one level. */
export interface ExpiryLevels {
  /**
   * Shares of a certificate's life that remain. 0 is the expiry.
   *
   * @default {[1 / 5, 1 / 10, 0]}
   */
  readonly remainingShares?: readonly number[] | undefined;
  /**
   * Times that remain, in milliseconds.
   *
   * @default {[]}
   */
  readonly remainingMs?: readonly number[] | undefined;
}

/** A certificate in use that comes to its end. */
export interface ExpiryAlarm {
  /** What the certificate is used for. */
  readonly role: CertificateRole;
  /** The certificate. */
  readonly certificate: Certificate;
  /** How many levels have been reached, at least 1. */
  readonly level: number;
  /** How long the certificate stays valid; negative once it has expired. */
  readonly remainingMs: number;
}

/** How often the clock is read: timers stop while a machine sleeps, and do not notice that a clock was set. */
const LOOK_EVERY_MS = 60_000;
/** Bounds the memory of certificates that are no longer used. */
const MAX_REMEMBERED = 1_000;

/**
 * Raises an alarm when a certificate in use comes to its end: once for each certificate and level, also if the
 * certificate comes back into use. Levels that pass together, as while a machine sleeps, raise one alarm. A clock that
 * is set back takes levels back as well.
 */
export class ExpiryAlarms {
  readonly #shares: readonly number[];
  readonly #times: readonly number[];
  readonly #raise: (alarm: ExpiryAlarm) => void;
  /** The level that each certificate has reached, by its fingerprint, for those that have reached one. */
  readonly #reached = new Map<string, number>();
  #used: readonly UsedCertificate[] = [];
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param levels When alarms are raised.
   * @param raise Called with each alarm.
   */
  constructor(levels: ExpiryLevels, raise: (alarm: ExpiryAlarm) => void) {
    this.#shares = levels.remainingShares ?? [1 / 5, 1 / 10, 0];
    this.#times = levels.remainingMs ?? [];
    for (const level of [...this.#shares, ...this.#times]) {
      if (typeof level === "number" && level >= 0) continue;
      throw new TypeError(`Cannot set expiry alarms: each level must be a number from 0: ${String(level)}`);
    }
    this.#raise = raise;
  }

  /** Watches the certificates of this configuration, in place of the previous one. */
  watch(config: TlsConfig): void {
    this.#used = usedCertificates(config);
    clearTimeout(this.#timer);
    // Not at once: the caller that makes a reloader has yet to add its listeners.
    this.#timer = setTimeout(() => this.#lookAgain(), 0).unref();
  }

  /** Compares the clock with the certificates, and raises the alarms that are due. */
  look(): void {
    for (const { role, certificate } of this.#used) {
      const end = certificate.notAfter.getTime();
      const remainingMs = end - Date.now();
      const level = this.#levelAt(remainingMs, end - certificate.notBefore.getTime());
      const before = this.#reached.get(certificate.fingerprint256) ?? 0;
      this.#remember(certificate.fingerprint256, level);
      if (level > before) this.#raise({ role, certificate, level, remainingMs });
    }
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
    const [oldest] = this.#reached.keys();
    if (this.#reached.size > MAX_REMEMBERED && oldest !== undefined) this.#reached.delete(oldest);
  }
}
