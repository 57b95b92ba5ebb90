import { requireOptions } from "../arguments.ts";
import { normalizeName } from "../x509/server_name.ts";
import { CERTIFIED_KEY_PARTS, CertifiedKey, type CertifiedKeyInit, certifiedKeyOf } from "./certified_key.ts";
import { ABLE_CLIENT, chooseKey, type ClientAbilities } from "./key_choice.ts";
import type { TlsVersion, UnknownName } from "./options.ts";
import { ServerNameIndex } from "./server_names.ts";
import { requirePassphrase } from "./settings.ts";

/** The name that a client asks for, and the keys that it can verify, from its ClientHello. */
export interface KeyRequest extends ClientAbilities {
  /** The name, in the form of {@linkcode normalizeName}; `undefined` if the client does not send a name. */
  readonly serverName: string | undefined;
}

/** The settings that the choice depends on, beside the names. */
interface KeyPolicy {
  /** The answer to a client that asks for a name that no certificate holds. */
  readonly unknownName: UnknownName;
  /** The highest protocol version that the server accepts. */
  readonly maxVersion: TlsVersion;
}

/**
 * The certified keys of a configuration, and the choice between them.
 *
 * Invariant: a client that asks for a name gets a certificate that holds the name, if there is one.
 */
export class CertifiedKeys {
  /** All certified keys, the default first. */
  readonly all: readonly CertifiedKey[];
  readonly #policy: KeyPolicy;
  #index: ServerNameIndex<CertifiedKey> | undefined;

  /** Makes a collection of at least one certified key, the default first. */
  constructor(all: readonly CertifiedKey[], policy: KeyPolicy) {
    this.all = Object.freeze([...all]);
    this.#policy = policy;
  }

  /**
   * Chooses by name alone, in any form, for a client that can verify all keys; `undefined` if the client is refused.
   */
  forName(name: string): CertifiedKey | undefined {
    return this.forClient({ ...ABLE_CLIENT, serverName: normalizeName(name) }, undefined);
  }

  /** Chooses for one client; `undefined` if it must be refused with `unrecognized_name`. */
  forClient(client: KeyRequest, localAddress: string | undefined): CertifiedKey | undefined {
    const { unknownName, maxVersion } = this.#policy;
    // Created for the first client, because a configuration without clients does not need an index.
    const index = this.#index ??= new ServerNameIndex(this.all);
    const found = client.serverName === undefined
      ? index.findAddress(localAddress ?? "") ?? index.defaults
      : index.find(client.serverName) ?? (unknownName === "refuse" ? undefined : index.defaults);
    return found && chooseKey(found, client, maxVersion);
  }
}

/**
 * Parses the certified keys of a configuration, in their order. Those of other configurations are kept.
 *
 * @throws {TlsReloadError} Every error of {@linkcode CertifiedKey}.
 * @throws {TypeError} If the list is empty, or an option is unknown.
 */
export function parseCertifiedKeys(inits: readonly (CertifiedKeyInit | CertifiedKey)[]): CertifiedKey[] {
  if (!Array.isArray(inits) || inits.length === 0) {
    throw new TypeError("Cannot use TLS config: 'certifiedKeys' must be a list of at least one certified key");
  }
  return inits.map((init) => {
    if (init instanceof CertifiedKey) return init;
    requireOptions("a certified key", init, CERTIFIED_KEY_PARTS);
    requirePassphrase(init.passphrase);
    return certifiedKeyOf(init);
  });
}
