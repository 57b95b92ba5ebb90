/** What one configuration means to the clients. */
export interface Entry {
  /** The certificates, by the names that they are for. A client that asks for another name gets the first one. */
  readonly served: Readonly<Record<string, string>>;
  /** The names of the clients that get in. */
  readonly trusted: readonly string[];
}

/**
 * The configurations that a server was given, oldest first, and how many of them it has confirmed. A connection may meet
 * every configuration from the last one that was confirmed when it began.
 */
export class Ledger {
  readonly #entries: (Entry & { confirmedAt?: number })[] = [];
  #confirmed = -1;

  /** Notes a configuration before the server gets it. */
  ask(entry: Entry): void {
    this.#entries.push(entry);
  }

  /** Notes that the server serves the last configuration, and no earlier one. */
  confirm(): void {
    this.#confirmed = this.#entries.length - 1;
    this.latest.confirmedAt ??= performance.now();
  }

  /** Where a connection begins. */
  mark(): number {
    return this.#confirmed;
  }

  /** The configurations that a connection may have met by now. */
  since(mark: number): readonly Entry[] {
    return this.#entries.slice(mark);
  }

  /** The last configuration that was given. */
  get latest(): Entry & { confirmedAt?: number } {
    return this.#entries.at(-1)!;
  }

  /** The configuration before that. */
  get previous(): Entry | undefined {
    return this.#entries.at(-2);
  }

  /** For how long all configurations have refused a client, in milliseconds. */
  refusedMs(client: string): number {
    const last = this.#entries.findLastIndex(({ trusted }) => trusted.includes(client));
    const refusing = this.#entries.slice(last + 1).find(({ confirmedAt }) => confirmedAt !== undefined);
    return refusing ? performance.now() - refusing.confirmedAt! : 0;
  }
}

/** The certificate that a client gets which asks for a name. */
export function certificateFor({ served }: Entry, name: string): string {
  return served[name] ?? Object.values(served)[0]!;
}
