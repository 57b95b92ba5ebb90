import type { Buffer } from "node:buffer";
import type { CertifiedKey } from "../config/certified_key.ts";
import { keyKindOf } from "../config/key_kind.ts";
import { ServerNameIndex } from "../config/server_names.ts";
import { bareOptions, type TlsServerOptions } from "../config/server_options.ts";
import { requireConfig, type TlsConfig } from "../config/tls_config.ts";
import { requireVersion, unsupported } from "../unsupported.ts";

/** The options of `Bun.serve({ tls })`, once or in a list. */
export interface BunTlsOptions extends Omit<TlsServerOptions, "cert" | "key" | "minVersion"> {
  /** The name that the entry is for, such as `*.example.com`; absent in the default entry. */
  readonly serverName?: string;
  /** The chain as PEM; a list if there are several keys. */
  readonly cert: string | string[];
  /** The private key as plain PKCS#8 PEM; a list if there are several keys. */
  readonly key: Buffer | Buffer[];
  /** The lowest protocol version, as its number on the wire (RFC 8446 section 4.2.1). */
  readonly minVersion?: number;
}

/** The same before `minVersion` is converted, and what `Bun.serve` does not have is refused. */
type NamedEntry = Omit<BunTlsOptions, "minVersion"> & Omit<TlsServerOptions, "cert" | "key">;

/** The oldest version of Bun that does not ignore `minVersion`. */
const OLDEST = { bun: "1.4.3" };
const TLS_1_3 = 0x0304;

/**
 * Converts a configuration to the options of `Bun.serve({ tls })`. Bun reads them once: its own `reload({ tls })`
 * changes nothing and reports no error. To change the certificate of a server, see {@linkcode serve}.
 *
 * Of several certified keys each name gets an entry: a client gets the key of the name that it can verify, and the
 * first key where no name is sent or known.
 *
 * @param config The configuration.
 * @returns The options, a list of them for several certified keys. They hold the private keys, and hide them when
 * printed.
 * @throws {TlsReloadError} `UNSUPPORTED` for optional client authentication, because `Bun.serve` lets in clients with
 * bad certificates then, for `maxVersion`, `ciphers` and `ecdhCurve`, and before Bun 1.4.3 for any client
 * authentication and for a `minVersion` of TLS 1.3; for unknown names that are to be refused; for an address in any
 * certificate but the default's, because `Bun.serve` does not choose by the local address.
 */
export function tlsOptions(config: TlsConfig): BunTlsOptions | BunTlsOptions[] {
  requireConfig("give TLS options", config);
  if (config.clientAuth?.mode === "optional") {
    const alternative = 'use mode "required", or state.acceptor() with node:http';
    throw unsupported("serve", `Bun.serve lets in clients with bad certificates if they are optional; ${alternative}`);
  }
  if (config.clientAuth || config.minVersion !== "TLSv1.2") {
    requireVersion("serve", OLDEST, "serve without client authentication and minVersion");
  }
  const entries = namedEntries(config).map(({ minVersion, maxVersion, ciphers, ecdhCurve, ...options }) => {
    const refused = Object.entries({ maxVersion, ciphers, ecdhCurve }).find(([, value]) => value !== undefined);
    if (refused) throw unsupported("serve", `Bun.serve has no ${refused[0]}; use state.acceptor() with node:http`);
    return { ...options, ...(minVersion && { minVersion: TLS_1_3 }) };
  });
  return config.certifiedKeys.length > 1 ? entries : entries[0]!;
}

/**
 * The default entry, then one for each name. Bun compares names without case and trailing dot, exact ones before
 * wildcards, takes the last of two entries of one name, and chooses within an entry by what the client can verify.
 * Throws `UNSUPPORTED` for a choice that Bun does not make.
 */
function namedEntries(config: TlsConfig): NamedEntry[] {
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
