import type { RootCertStore } from "./store.ts";

/**
 * Keeps what a load came to, be it a store or an error, until a refresh succeeds.
 *
 * A promise does all of it: whoever asks while it is pending shares the load, and whoever asks later gets the same
 * outcome.
 */
export class RootCache {
  readonly #load: () => Promise<RootCertStore>;
  #current: Promise<RootCertStore> | undefined;
  #latest: Promise<unknown> = Promise.resolve();
  #queued: Promise<RootCertStore> | undefined;

  /** @param load Reads the roots. */
  constructor(load: () => Promise<RootCertStore>) {
    this.#load = load;
  }

  /** The current outcome; the first call makes it. */
  get(): Promise<RootCertStore> {
    return this.#current ??= this.#read();
  }

  /** Reads again. A refresh that waits for its turn has read nothing yet, so all who ask until then share it. */
  refresh(): Promise<RootCertStore> {
    return this.#queued ??= this.#refresh();
  }

  async #refresh(): Promise<RootCertStore> {
    await this.#latest.catch(() => {});
    this.#queued = undefined;
    const reading = this.#read();
    this.#current ??= reading;
    const store = await reading;
    this.#current = reading;
    return store;
  }

  #read(): Promise<RootCertStore> {
    const reading = this.#load();
    this.#latest = reading;
    return reading;
  }
}
