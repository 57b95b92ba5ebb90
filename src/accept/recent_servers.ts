import type { Server } from "node:tls";
import type { CertifiedKey } from "../config/certified_key.ts";

/** The default number of servers that are kept. On Node, the context of a server uses about 41 KiB. */
export const MAX_CONTEXTS = 1_000;

interface Entry {
  readonly settingsDigest: string;
  readonly server: Server;
}

/**
 * A cache of `tls.Server`s, each with a context for one certified key.
 *
 * Invariant: the cache never exceeds its maximum size; the least recently used server is first and is removed first. A
 * server survives a swap if its certified key and all settings are unchanged, so a swap of one name among many rebuilds
 * one context.
 */
export class RecentServers {
  readonly #max: number;
  readonly #entries = new Map<CertifiedKey, Entry>();

  constructor(max: number = MAX_CONTEXTS) {
    this.#max = max;
  }

  /** Returns the server of a certified key. Makes it if the cache does not hold it. */
  get(certifiedKey: CertifiedKey, settingsDigest: string, make: () => Server): Server {
    let entry = this.#entries.get(certifiedKey);
    if (entry?.settingsDigest !== settingsDigest) entry = { settingsDigest, server: make() };
    this.#entries.delete(certifiedKey);
    this.#entries.set(certifiedKey, entry);
    if (this.#entries.size > this.#max) {
      const [oldest] = this.#entries.keys();
      this.#entries.delete(oldest!);
    }
    return entry.server;
  }

  /** Removes the servers of all other certified keys, so that no unused private key stays in memory. */
  retain(certifiedKeys: readonly CertifiedKey[]): void {
    if (this.#entries.size === 0) return;
    const kept = new Set(certifiedKeys);
    for (const certifiedKey of [...this.#entries.keys()]) {
      if (!kept.has(certifiedKey)) this.#entries.delete(certifiedKey);
    }
  }
}
