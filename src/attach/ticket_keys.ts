import { hkdfSync, randomBytes } from "node:crypto";
import type { Server } from "node:tls";
import type { CertifiedKey } from "../config/certified_key.ts";
import { sessionDigestOf } from "../config/digests.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { hasTicketKeys } from "../node_internals/kept_options.ts";

const TICKET_KEYS_BYTES = 48;

/**
 * The session ticket keys of an attached server.
 *
 * Invariant: keys that the user sets, by `ticketKeys` or by `setTicketKeys()` at any time, are always used. Otherwise
 * the keys are replaced exactly when client authentication, ALPN or versions change. Only Node uses these keys. Deno
 * ignores them, because it has keys of its own for the process.
 */
export class TicketKeys {
  readonly #server: Server;
  readonly #initial: Uint8Array | undefined;
  #generated: Uint8Array | undefined;
  #sessionDigest: string;
  /** The keys of each inner server. */
  readonly #given = new WeakMap<Server, Uint8Array | undefined>();

  constructor(server: Server, config: TlsConfig) {
    this.#server = server;
    this.#initial = this.#own();
    this.#generated = this.#initial;
    this.#sessionDigest = sessionDigestOf(config);
  }

  /** Generates new keys if sessions of the previous configuration must not be resumed with this one. */
  follow(config: TlsConfig): void {
    const digest = sessionDigestOf(config);
    if (digest === this.#sessionDigest) return;
    this.#sessionDigest = digest;
    if (this.#generated) this.#generated = randomBytes(TICKET_KEYS_BYTES);
  }

  /** Sets the keys of an inner server, unless it has them. */
  giveTo(inner: Server, config: TlsConfig, certifiedKey: CertifiedKey): void {
    const own = this.#own();
    const isSet = hasTicketKeys(this.#server) || !isSame(own, this.#initial);
    const shared = isSet ? own : this.#generated;
    // A session of one name must not be resumed under another name, because the client would not see its certificate.
    const keys = shared && config.certifiedKeys.length > 1 ? derived(shared, certifiedKey) : shared;
    if (keys && !isSame(keys, this.#given.get(inner))) {
      inner.setTicketKeys(keys as Parameters<Server["setTicketKeys"]>[0]);
    }
    this.#given.set(inner, keys);
  }

  #own(): Uint8Array | undefined {
    return this.#server.getTicketKeys?.();
  }
}

/** Derives the keys of a certified key. Processes that share the keys derive the same ones. */
function derived(keys: Uint8Array, certifiedKey: CertifiedKey): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", keys, certifiedKey.leaf.fingerprint256, "ticket keys", TICKET_KEYS_BYTES));
}

function isSame(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  if (!one || !other) return one === other;
  return one.every((byte, index) => byte === other[index]);
}
