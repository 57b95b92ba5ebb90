import type { Certificate } from "../x509/certificate.ts";
import { normalizeName } from "../x509/server_name.ts";

/** A certificate chain, whose first certificate holds the names. */
export interface Named {
  /** The chain, the server's own certificate first. */
  readonly chain: readonly Certificate[];
}

/**
 * Finds certified keys by the DNS names and addresses of their certificates. The time of a look-up does not depend on
 * the number of keys.
 *
 * Invariant: a name finds all keys with the exact name, otherwise all keys with the wildcard. A wildcard stands for one
 * label, the first (RFC 6125 section 6.4.3).
 */
export class ServerNameIndex<Key extends Named> {
  readonly #exact = new Map<string, Key[]>();
  /** Keys by the name after `*.`. */
  readonly #wildcards = new Map<string, Key[]>();
  readonly #addresses = new Map<string, Key[]>();
  readonly #defaults: readonly Key[];

  /**
   * Makes an index of at least one key, the default first. If several keys fit a client equally well, the first is
   * chosen.
   */
  constructor(keys: readonly Key[]) {
    for (const key of keys) {
      const { dnsNames, ipAddresses } = leafOf(key);
      for (const name of new Set(dnsNames.map(normalizeName).filter(isName))) {
        if (name.startsWith("*.")) add(this.#wildcards, name.slice("*.".length), key);
        else add(this.#exact, name, key);
      }
      for (const address of ipAddresses) add(this.#addresses, address, key);
    }
    this.#defaults = this.#withNamesOf(keys[0]!);
  }

  /** The first key, and all keys for the same names. */
  get defaults(): readonly Key[] {
    return this.#defaults;
  }

  /** All DNS names with their keys. Wildcards have the form `*.example.com`. */
  *dnsNames(): Iterable<readonly [name: string, keys: readonly Key[]]> {
    yield* this.#exact;
    for (const [parent, keys] of this.#wildcards) yield [`*.${parent}`, keys];
  }

  /**
   * Finds the keys of a DNS name or an address, in the form of {@linkcode normalizeName}; `undefined` if no certificate
   * holds it.
   */
  find(name: string): readonly Key[] | undefined {
    const exact = this.#exact.get(name);
    if (exact) return exact;
    const dot = name.indexOf(".");
    const parent = dot > 0 ? name.slice(dot + 1) : "";
    return this.#wildcards.get(parent) ?? this.#addresses.get(name);
  }

  /**
   * Finds the keys of a `socket.localAddress`, for clients that do not send a name; `undefined` if no certificate holds
   * it.
   */
  findAddress(address: string): readonly Key[] | undefined {
    return this.#addresses.get(address.replace(/^::ffff:(?=\d+\.)|%.*$/gi, ""));
  }

  #withNamesOf(first: Key): readonly Key[] {
    const names = namesOf(first);
    const others = names.length === 0 ? undefined : this.#ofExactly(names[0]!);
    return others?.filter((key) => String(namesOf(key)) === String(names)) ?? [first];
  }

  #ofExactly(name: string): readonly Key[] | undefined {
    return name.startsWith("*.")
      ? this.#wildcards.get(name.slice("*.".length))
      : this.#exact.get(name) ?? this.#addresses.get(name);
  }
}

function leafOf(key: Named): Certificate {
  return key.chain[0]!;
}

/** A certificate may hold texts that are not names: no client can ask for them, and the runtimes would differ. */
function isName(normalized: string): boolean {
  return /^(?:\*\.)?[^*\0]+$/.test(normalized);
}

function namesOf(key: Named): string[] {
  const { dnsNames, ipAddresses } = leafOf(key);
  return [...new Set([...dnsNames.map(normalizeName), ...ipAddresses])].sort();
}

function add<Key>(map: Map<string, Key[]>, name: string, key: Key): void {
  const keys = map.get(name);
  if (keys) keys.push(key);
  else map.set(name, [key]);
}
