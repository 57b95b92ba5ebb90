import { chainPemOf, keyPemOf } from "../config/certified_key.ts";
import { ABLE_CLIENT } from "../config/key_choice.ts";
import { ServerNameIndex } from "../config/server_names.ts";
import { certifiedKeyForClient, type TlsConfig } from "../config/tls_config.ts";
import { namedServing, type NameResolver } from "./internals.ts";

/**
 * How many names a listener may be asked for. Deno keeps each one with its certificate and key as long as the listener
 * lives, also names that no certificate holds, so clients could fill the memory.
 */
const MAX_NAMES = 10_000;

/** How many names a configuration may have. Clients wait while a listener is asked for all of them. */
const MAX_ASKED = 100;

/** Whether a configuration chooses by name. */
export function choosesByName({ certifiedKeys, unknownName }: TlsConfig): boolean {
  return certifiedKeys.length > 1 || unknownName === "refuse";
}

/** What the choice by name needs and the native servers of Deno do not have, if anything. */
export function missingForNames(config: TlsConfig): string | undefined {
  if (!choosesByName(config)) return undefined;
  if (!namedServing()) return "several certified keys in this version of Deno";
  const index = new ServerNameIndex(config.certifiedKeys);
  const names = [...index.dnsNames()];
  if (index.defaults.length > 1 || names.some(([, keys]) => keys.length > 1)) {
    return "several certified keys of one name";
  }
  if (names.some(([name]) => name.startsWith("*."))) return "wildcards beside other names";
  if (names.length > MAX_ASKED) return `more than ${MAX_ASKED} names`;
  const hasAddress = config.certifiedKeys.slice(1).some(({ leaf }) => leaf.ipAddresses.length > 0);
  return hasAddress ? "choice by the local address" : undefined;
}

/**
 * Answers the names of a configuration, in which each name has one certified key. After `maxNames` answers the listener
 * is exhausted: another one must take its place. Later names are answered as well.
 */
export function namedKeysOf(config: TlsConfig, maxNames = MAX_NAMES) {
  const { promise: exhausted, resolve: exhaust } = Promise.withResolvers<void>();
  let names = 0;
  const resolve: NameResolver = (name) => {
    names++;
    if (names >= maxNames) exhaust();
    const client = { ...ABLE_CLIENT, serverName: name === "" ? undefined : name };
    const certifiedKey = certifiedKeyForClient(config, client, undefined);
    if (!certifiedKey) throw new Error("no certificate holds the name");
    return { cert: chainPemOf(certifiedKey), key: keyPemOf(certifiedKey) };
  };
  return { resolve, exhausted };
}
