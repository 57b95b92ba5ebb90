import { requireOptions } from "../arguments.ts";
import { CertifiedKey, type CertifiedKeyInit, certifiedKeyOf } from "./certified_key.ts";
import { ABLE_CLIENT, chooseKey, type ClientAbilities } from "./key_choice.ts";
import { requirePassphrase, type TlsVersion, type UnknownName } from "./options.ts";
import { normalizeName, ServerNameIndex } from "./server_names.ts";

const OPTION_NAMES = ["cert", "key", "passphrase"];

/** What a client asks for and can verify, as its ClientHello says. */
export interface KeyRequest extends ClientAbilities {
  /** The name, in the form of {@linkcode normalizeName}; absent if the client sends none. */
  readonly serverName: string | undefined;
}

/** What is chosen by, beside the names. */
export interface KeyPolicy {
  /** What a client gets that asks for a name that no certificate holds. */
  readonly unknownName: UnknownName;
  /** The highest protocol version that the server accepts. */
  readonly maxVersion: TlsVersion;
}

/**
 * The certified keys of a configuration, and the choice between them.
 *
 * Invariant: a client that asks for a name that a certificate holds gets such a certificate, never another one.
 */
export class CertifiedKeys {
  /** All of them, the default first. */
  readonly all: readonly CertifiedKey[];
  readonly #policy: KeyPolicy;
  #index: ServerNameIndex<CertifiedKey> | undefined;

  /**
   * Makes the choice.
   *
   * @param all At least one key, the default first.
   * @param policy What to choose by.
   */
  constructor(all: readonly CertifiedKey[], policy: KeyPolicy) {
    this.all = Object.freeze([...all]);
    this.#policy = policy;
  }

  /**
   * Chooses by name alone.
   *
   * @param name The name, in any form.
   * @returns What a client gets that can verify every key; `undefined` if it is refused.
   */
  forName(name: string): CertifiedKey | undefined {
    return this.forClient({ ...ABLE_CLIENT, serverName: normalizeName(name) }, undefined);
  }

  /**
   * Chooses for one client.
   *
   * @param client What it asks for and can verify.
   * @param localAddress The address that it has connected to.
   * @returns The certified key; `undefined` if the client must be refused with `unrecognized_name`.
   */
  forClient(client: KeyRequest, localAddress: string | undefined): CertifiedKey | undefined {
    const { unknownName, maxVersion } = this.#policy;
    // Made for the first client: a configuration that only replaces another one by name needs no index.
    const index = this.#index ??= new ServerNameIndex(this.all);
    const found = client.serverName === undefined
      ? index.findAddress(localAddress ?? "") ?? index.defaults
      : index.find(client.serverName) ?? (unknownName === "refuse" ? undefined : index.defaults);
    return found && chooseKey(found, client, maxVersion);
  }
}

/**
 * Parses the certified keys of a configuration.
 *
 * @param inits Chains and keys in PEM, or certified keys as they are.
 * @returns The certified keys, in the same order.
 * @throws {TlsReloadError} Every error of {@linkcode CertifiedKey}.
 * @throws {TypeError} If there is none, or an option is unknown.
 */
export function parseCertifiedKeys(inits: readonly (CertifiedKeyInit | CertifiedKey)[]): CertifiedKey[] {
  if (!Array.isArray(inits) || inits.length === 0) {
    throw new TypeError("Cannot use TLS config: 'certifiedKeys' must be a list of at least one certified key");
  }
  return inits.map((init) => {
    if (init instanceof CertifiedKey) return init;
    requireOptions("a certified key", init, OPTION_NAMES);
    requirePassphrase(init.passphrase);
    return certifiedKeyOf(init);
  });
}
