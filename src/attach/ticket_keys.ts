import { randomBytes } from "node:crypto";
import type { Server } from "node:tls";
import { sessionDigestOf } from "../config/digests.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { hasTicketKeys } from "../node_internals/kept_options.ts";
import { areSameBytes } from "../x509/octets.ts";

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
  giveTo(inner: Server): void {
    const own = this.#own();
    const isSet = hasTicketKeys(this.#server) || !isSame(own, this.#initial);
    const keys = isSet ? own : this.#generated;
    if (keys && !isSame(keys, this.#given.get(inner))) {
      inner.setTicketKeys(keys as Parameters<Server["setTicketKeys"]>[0]);
    }
    this.#given.set(inner, keys);
  }

  #own(): Uint8Array | undefined {
    return this.#server.getTicketKeys?.();
  }
}

function isSame(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  return one && other ? areSameBytes(one, other) : one === other;
}
