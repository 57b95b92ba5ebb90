/** What one configuration means to its clients. */
export interface Entry {
  /** The certificate that is served. */
  readonly fingerprint256: string;
  /** The clients that get in. */
  readonly trusted: readonly string[];
}

/**
 * Which configurations a server had been told to serve, and which of them it had confirmed: what a connection that was
 * begun then may meet is everything from the last one confirmed at that moment on.
 */
export class Ledger {
  readonly #entries: Entry[] = [];
  #confirmed = -1;

  /** Notes a configuration before the server hears of it. */
  ask(entry: Entry): void {
    this.#entries.push(entry);
  }

  /** Notes that the server has taken everything that was asked for. */
  confirm(): void {
    this.#confirmed = this.#entries.length - 1;
  }

  /** Where a connection begins. */
  mark(): number {
    return this.#confirmed;
  }

  /** What a connection may have met by now. */
  since(mark: number): readonly Entry[] {
    return this.#entries.slice(mark);
  }

  /** The last one that was asked for. */
  get latest(): Entry {
    return this.#entries.at(-1)!;
  }

  /** What was served before that: what a roll back leads to. */
  get previous(): Entry | undefined {
    return this.#entries.at(-2);
  }
}
