import type { Server } from "node:tls";
import type { CertifiedKey } from "../config/certified_key.ts";

/** How many servers are kept if nothing else is said. On Node, a context takes about 41 KiB. */
export const MAX_CONTEXTS = 1_000;

interface Entry {
  readonly settingsDigest: string;
  readonly server: Server;
}

/**
 * The `tls.Server`s, each with a context, of the certified keys that were used last.
 *
 * Invariant: it holds at most as many servers as it may, the one that was not used for longest first. A server outlives a
 * swap if its certified key and all settings are the same, so that a swap of many names builds no context again.
 */
export class RecentServers {
  readonly #max: number;
  readonly #entries = new Map<CertifiedKey, Entry>();

  /**
   * Makes an empty collection.
   *
   * @param max How many servers are kept.
   */
  constructor(max: number = MAX_CONTEXTS) {
    this.#max = max;
  }

  /** How many servers are kept now. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * The server of a certified key, made if there is none.
   *
   * @param certifiedKey The certified key.
   * @param settingsDigest The digest of everything else that the server is made with.
   * @param make Makes the server.
   * @returns The server.
   */
  get(certifiedKey: CertifiedKey, settingsDigest: string, make: () => Server): Server {
    const entry = this.#entries.get(certifiedKey);
    const server = entry?.settingsDigest === settingsDigest ? entry.server : make();
    this.#entries.delete(certifiedKey);
    this.#entries.set(certifiedKey, { settingsDigest, server });
    if (this.#entries.size > this.#max) {
      const [oldest] = this.#entries.keys();
      this.#entries.delete(oldest!);
    }
    return server;
  }

  /** Forgets every certified key except these, so that no private key stays in memory that is not in use. */
  retain(certifiedKeys: readonly CertifiedKey[]): void {
    if (this.#entries.size === 0) return;
    const kept = new Set(certifiedKeys);
    for (const certifiedKey of [...this.#entries.keys()]) {
      if (!kept.has(certifiedKey)) this.#entries.delete(certifiedKey);
    }
  }
}
