import { hkdfSync, randomBytes } from "node:crypto";
import type { Server } from "node:tls";
import { sessionDigestOf } from "../config/digests.ts";
import type { CertifiedKey } from "../config/certified_key.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { hasTicketKeys } from "../node_internals.ts";

const TICKET_KEYS_BYTES = 48;

/**
 * The session ticket keys of an attached server.
 *
 * Invariant: keys that the user sets always hold, by `ticketKeys` or by `setTicketKeys()` at any time. Otherwise the keys
 * stay the same as long as client authentication, ALPN and versions do, and are drawn anew when these change. Only Node
 * encrypts tickets with these keys; Deno has keys of the process, and ignores them.
 */
export class TicketKeys {
  readonly #server: Server;
  readonly #first: Uint8Array | undefined;
  #drawn: Uint8Array | undefined;
  #sessionDigest: string;

  constructor(server: Server, config: TlsConfig) {
    this.#server = server;
    this.#first = this.#own();
    this.#drawn = this.#first;
    this.#sessionDigest = sessionDigestOf(config);
  }

  /** Draws new keys if sessions of the previous configuration must not be resumed with this one. */
  follow(config: TlsConfig): void {
    const digest = sessionDigestOf(config);
    if (digest === this.#sessionDigest) return;
    this.#sessionDigest = digest;
    if (this.#drawn) this.#drawn = randomBytes(TICKET_KEYS_BYTES);
  }

  /**
   * Gives a server the keys.
   *
   * @param server The server that encrypts tickets.
   * @param given The keys that it was given before.
   * @param config The configuration that it serves with.
   * @param certifiedKey The certified key that it serves.
   * @returns The keys that it has now.
   */
  giveTo(
    server: Server,
    given: Uint8Array | undefined,
    config: TlsConfig,
    certifiedKey: CertifiedKey,
  ): Uint8Array | undefined {
    const own = this.#own();
    const isSet = hasTicketKeys(this.#server) || !isSame(own, this.#first);
    const shared = isSet ? own : this.#drawn;
    // A session of one name must not be resumed under another one, whose certificate the client would not be shown.
    const keys = shared && config.certifiedKeys.length > 1 ? derived(shared, certifiedKey) : shared;
    if (keys && !isSame(keys, given)) server.setTicketKeys(keys as Parameters<Server["setTicketKeys"]>[0]);
    return keys;
  }

  #own(): Uint8Array | undefined {
    return this.#server.getTicketKeys?.();
  }
}

/** The same for the same certified key in every process that shares the keys. */
function derived(keys: Uint8Array, certifiedKey: CertifiedKey): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", keys, certifiedKey.leaf.fingerprint256, "ticket keys", TICKET_KEYS_BYTES));
}

function isSame(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  if (!one || !other) return one === other;
  return one.every((byte, index) => byte === other[index]);
}
