import type { Buffer } from "node:buffer";
import type { CertifiedKey } from "../config/certified_key.ts";
import { keyKindOf } from "../config/key_kind.ts";
import { bareOptions, type TlsServerOptions } from "../config/server_options.ts";
import { ServerNameIndex } from "../config/server_names.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { unsupported } from "../unsupported.ts";

/** One entry of `Bun.serve({ tls })`: the keys of one name, at most one of each kind. */
export interface NamedEntry extends Omit<TlsServerOptions, "cert" | "key"> {
  /** The name, such as `*.example.com`; absent for the entry of clients whose name has none. */
  readonly serverName?: string;
  /** The chain as PEM; a list if there are several keys. */
  readonly cert: string | string[];
  /** The private key as plain PKCS#8 PEM; a list if there are several keys. */
  readonly key: Buffer | Buffer[];
}

/**
 * A configuration as entries of `Bun.serve({ tls })`. Bun compares names without case and trailing dot, exact ones
 * before wildcards, takes the last of two entries of one name, and chooses within an entry by what the client can
 * verify.
 *
 * @param config The configuration.
 * @returns The default entry, then one for each name.
 * @throws {TlsReloadError} `UNSUPPORTED` for a choice that Bun does not make.
 */
export function namedEntries(config: TlsConfig): NamedEntry[] {
  const { certifiedKeys, unknownName } = config;
  const alternative = "use state.acceptor() with node:http";
  if (unknownName === "refuse") throw unsupported("serve", `Bun.serve cannot refuse unknown names; ${alternative}`);
  if (certifiedKeys.length === 1) return [entryOf(config, certifiedKeys)];
  const index = new ServerNameIndex(certifiedKeys);
  const withAddress = certifiedKeys.find((each) => each.leaf.ipAddresses.length > 0 && !index.defaults.includes(each));
  if (withAddress) {
    const reason = `Bun.serve does not choose by the local address, which ${withAddress.leaf.subject} holds`;
    throw unsupported("serve", `${reason}; ${alternative}`);
  }
  const named = [...index.dnsNames()].map(([serverName, keys]) => ({ serverName, ...entryOf(config, keys) }));
  return [entryOf(config, index.defaults), ...named];
}

function entryOf(config: TlsConfig, keys: readonly CertifiedKey[]): NamedEntry {
  const all = oneOfEachKind(keys).map((certifiedKey) => bareOptions(config, certifiedKey, "serve"));
  const [first] = all as [TlsServerOptions];
  return all.length === 1 ? first : { ...first, cert: all.map(({ cert }) => cert), key: all.map(({ key }) => key) };
}

/** A context holds one key of each kind: the first that is valid, else the first. */
function oneOfEachKind(keys: readonly CertifiedKey[]): CertifiedKey[] {
  const chosen = new Map<string, CertifiedKey>();
  for (const key of keys) {
    const kind = keyKindOf(key.leaf);
    const previous = chosen.get(kind);
    if (!previous || (!previous.leaf.isValidAt() && key.leaf.isValidAt())) chosen.set(kind, key);
  }
  return [...chosen.values()];
}
