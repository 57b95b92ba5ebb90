import { clearTimeout, setTimeout } from "node:timers";
import type { Certificate } from "../certificate.ts";

/** How much of its life a certificate has left when it is warned of: a third, then a tenth. */
const REMAINING = [1 / 3, 1 / 10];
/** The longest timer, far below the 24 days that a timer can take: a machine that slept is late by no more. */
const MAX_TIMER_MS = 3_600_000;

/** Calls when the life of a certificate comes to its end, once at each point of {@linkcode REMAINING}. */
export class ExpiryAlarm {
  readonly #onDue: (certificate: Certificate) => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(onDue: (certificate: Certificate) => void) {
    this.#onDue = onDue;
  }

  /** Watches this certificate from now on, and the one before no more. */
  set(certificate: Certificate): void {
    const end = certificate.notAfter.getTime();
    const life = end - certificate.notBefore.getTime();
    const dues = REMAINING.map((part) => end - life * part);
    let passed = 0;
    const look = () => {
      const before = passed;
      passed = dues.filter((due) => due <= Date.now()).length;
      const due = dues[passed];
      if (due !== undefined) this.#start(look, Math.min(due - Date.now(), MAX_TIMER_MS));
      if (passed > before) this.#onDue(certificate);
    };
    // Not at once: whoever makes a reloader has yet to listen to it.
    this.#start(look, 0);
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #start(look: () => void, ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(look, ms).unref();
  }
}
