import { clearTimeout, setTimeout } from "node:timers";
import type { Certificate } from "../x509/certificate.ts";

/** The shares of a certificate's life at which an alarm is raised: when a third is left, and when a tenth is. */
const REMAINING_SHARES = [1 / 3, 1 / 10];

/**
 * Raises an alarm when the life of a certificate comes to its end, once at each of the shares above. Only the
 * certificate that was set last is watched.
 */
export class ExpiryAlarm {
  readonly #onDue: (certificate: Certificate) => void;
  readonly #lookEveryMs: number;
  #timer: NodeJS.Timeout | undefined;

  /** The clock is read at every look: timers stop while a machine sleeps, and do not notice that a clock was set. */
  constructor(onDue: (certificate: Certificate) => void, lookEveryMs = 60_000) {
    this.#onDue = onDue;
    this.#lookEveryMs = lookEveryMs;
  }

  /** Watches this certificate from now on, in place of the previous one. */
  set(certificate: Certificate): void {
    let level = 0;
    const look = () => {
      this.#timer = setTimeout(look, this.#lookEveryMs).unref();
      const end = certificate.notAfter.getTime();
      const remaining = (end - Date.now()) / (end - certificate.notBefore.getTime());
      const before = level;
      level = REMAINING_SHARES.filter((share) => remaining <= share).length;
      if (level > before) this.#onDue(certificate);
    };
    this.close();
    // Not at once: the caller that makes a reloader has yet to add its listeners.
    this.#timer = setTimeout(look, 0).unref();
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}
