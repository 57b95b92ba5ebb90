/**
 * The private properties in which a server keeps the options that it was created with. Verified on Node 22.23 and 24.21,
 * Deno 2.9.6 and Bun 1.4.5. If a runtime changes a property, `tests/node_internals_test.ts` fails and names it.
 */
import type { SecureContextOptions, Server } from "node:tls";
import { acceptsByListener } from "./listeners.ts";

/** Options that Node keeps as properties of the server, and Deno in its context. */
const KEPT_OPTIONS = [
  "allowPartialTrustChain",
  "certificateCompression",
  "ciphers",
  "crl",
  "dhparam",
  "ecdhCurve",
  "honorCipherOrder",
  "maxVersion",
  "minVersion",
  "secureOptions",
  "sessionIdContext",
  "sessionTimeout",
  "sigalgs",
] as const;

/**
 * Reads the options that a server was created with. Node keeps nearly all of them; Deno keeps versions, cipher suites,
 * groups and signature algorithms.
 */
export function keptOptions(server: Server): SecureContextOptions & { readonly enableTrace?: boolean } {
  const context = (server as Server & { _sharedCreds?: { context?: object } })._sharedCreds?.context ?? {};
  const options: Record<string, unknown> = {};
  const created = createdWith(server);
  for (const name of KEPT_OPTIONS) {
    options[name] = Reflect.get(server, name) ?? Reflect.get(context, name) ?? created[name];
  }
  options["enableTrace"] = valueNamed(server, "enableTrace");
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

/**
 * The options that a server of Bun was created with, TLS and others: `https` servers keep them under the symbol
 * `options`, those of `tls` and `http2` under `::bunnetserveroptions::`. Empty on other runtimes.
 */
function createdWith(server: Server): Readonly<Record<string, unknown>> {
  if (acceptsByListener(server)) return {};
  return (valueNamed(server, "::bunnetserveroptions::") ?? valueNamed(server, "options") ?? {}) as Record<
    string,
    unknown
  >;
}

/** Options of a server that a configuration decides. */
const CONFIGURED_OPTIONS: ReadonlySet<string> = new Set([
  ...KEPT_OPTIONS,
  "ALPNProtocols",
  "ca",
  "cert",
  "key",
  "passphrase",
  "pfx",
  "rejectUnauthorized",
  "requestCert",
  "ticketKeys",
]);

/** The options that a server of Bun was created with and that have nothing to do with TLS. */
export function otherOptions(server: Server): object {
  return Object.fromEntries(Object.entries(createdWith(server)).filter(([name]) => !CONFIGURED_OPTIONS.has(name)));
}

/**
 * Reads the options of a server that conflict with a configuration that changes, and counts the contexts that
 * `addContext()` has added. Node keeps them under symbols, Deno under names with an underscore.
 */
export function callbacksOf(server: Server) {
  const { _contexts = [] } = server as Server & { _contexts?: unknown[] };
  const created = createdWith(server);
  return {
    SNICallback: valueNamed(server, "snicallback") ?? Reflect.get(server, "_SNICallback") ?? created["SNICallback"],
    ALPNCallback: Reflect.get(server, "ALPNCallback") ?? created["ALPNCallback"],
    pskCallback: valueNamed(server, "pskcallback") ?? created["pskCallback"],
    secureProtocol: Reflect.get(server, "secureProtocol"),
    addedContexts: _contexts.length,
  };
}

/**
 * Reads the settings that a server uses for each connection: client authentication, protocols, and whether sockets are
 * paused. Bun names `requestCert` and `rejectUnauthorized` with an underscore.
 */
export function settingsOf(server: Server) {
  const created = createdWith(server);
  const read = (name: string) => Reflect.get(server, name) ?? Reflect.get(server, `_${name}`) ?? created[name];
  return {
    pauseOnConnect: Boolean(Reflect.get(server, "pauseOnConnect")),
    requestCert: Boolean(read("requestCert")),
    rejectUnauthorized: Boolean(read("rejectUnauthorized")),
    ALPNProtocols: Reflect.get(server, "ALPNProtocols") as Uint8Array | undefined,
  };
}

/**
 * Reads the time limit of handshakes of a server in milliseconds, if it can be read. Node keeps it under a symbol, Deno and Bun under `_handshakeTimeout`.
 */
export function handshakeTimeoutOf(server: Server): number | undefined {
  const value = valueNamed(server, "handshake-timeout") ?? Reflect.get(server, "_handshakeTimeout");
  return typeof value === "number" && value > 0 ? value : undefined;
}

/** Whether a server was created with session ticket keys of its own. */
export function hasTicketKeys(server: Server): boolean {
  return Reflect.get(server, "ticketKeys") !== undefined;
}

/** The value of the property whose symbol has this description. */
function valueNamed(server: Server, description: string): unknown {
  const symbol = Object.getOwnPropertySymbols(server).find((each) => each.description === description);
  return symbol && Reflect.get(server, symbol);
}
