import { clearTimeout, setTimeout } from "node:timers";
import type { Certificate } from "../x509/certificate.ts";

/** How much of its life a certificate has left when it is warned of: a third, then a tenth. */
const REMAINING = [1 / 3, 1 / 10];

/** Calls when the life of a certificate comes to its end, once at each point of {@linkcode REMAINING}. */
export class ExpiryAlarm {
  readonly #onDue: (certificate: Certificate) => void;
  readonly #lookEveryMs: number;
  #timer: NodeJS.Timeout | undefined;

  /** Timers stand still while a machine sleeps, and know nothing of a clock that is set: so it is read again and again. */
  constructor(onDue: (certificate: Certificate) => void, lookEveryMs = 60_000) {
    this.#onDue = onDue;
    this.#lookEveryMs = lookEveryMs;
  }

  /** Watches this certificate from now on, and the one before no more. */
  set(certificate: Certificate): void {
    let passed = 0;
    const look = () => {
      this.#timer = setTimeout(look, this.#lookEveryMs).unref();
      const end = certificate.notAfter.getTime();
      const left = (end - Date.now()) / (end - certificate.notBefore.getTime());
      const before = passed;
      passed = REMAINING.filter((part) => left <= part).length;
      if (passed > before) this.#onDue(certificate);
    };
    this.close();
    // Not at once: whoever makes a reloader has yet to listen to it.
    this.#timer = setTimeout(look, 0).unref();
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}
