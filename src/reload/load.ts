import type { TlsConfig } from "../config/tls_config.ts";
import { codeOf } from "./logger.ts";
import type { ReloadFailure } from "./status.ts";
import { messageOf } from "../warnings.ts";

/**
 * Loads a configuration from its source.
 *
 * @param current The configuration that is served now.
 * @param onPartialFailure Reports a part of the source that cannot be loaded, while the others can: the `onError` of
 * `certificatesIn()`.
 */
export type Load = (current: TlsConfig, onPartialFailure: (error: unknown) => void) => Promise<TlsConfig>;

/**
 * The parts of the source that the last load could not load. A part is reported once, until it has loaded or its error
 * is another one.
 */
export class PartialFailures {
  #errors: unknown[] = [];
  #reported: ReadonlySet<string> = new Set();
  #at: Date | undefined;

  /** The failures of the last load. */
  get list(): readonly ReloadFailure[] {
    return this.#errors.map((error) => ({ at: this.#at!, code: codeOf(error), message: messageOf(error) }));
  }

  /** Whether the last load was of all parts. */
  get isEmpty(): boolean {
    return this.#errors.length === 0;
  }

  /** Called when a load begins. */
  clear(): void {
    this.#errors = [];
  }

  /** Adds what a load reports. */
  add(error: unknown): void {
    this.#at = new Date();
    this.#errors.push(error);
  }

  /** Called when a load has ended. Returns the failures that were not reported by the load before. */
  takeNews(): readonly unknown[] {
    const isNews = (error: unknown) => !this.#reported.has(messageOf(error));
    const news = this.#errors.filter(isNews);
    this.#reported = new Set(this.#errors.map(messageOf));
    return news;
  }
}
