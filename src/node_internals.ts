/**
 * All private properties of `node:tls` that this module uses, on all runtimes. No other file reads a private property
 * of a server or a socket. Verified on Node 22.23 and 24.21, Deno 2.9.6 and Bun 1.4.5. If a runtime changes a property,
 * `tests/node_internals_test.ts` fails and names it.
 */
import type { ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { SecureContextOptions, Server, TLSSocket } from "node:tls";
import { HIDDEN_CONTEXT, showAs } from "./redaction.ts";

/**
 * Returns the socket under an encrypted socket. No public property leads to it (nodejs/node `lib/internal/tls/wrap.js`,
 * `_init`). If a runtime removes `_parent`, handshakes time out and no client is accepted.
 *
 * @param secure The encrypted socket.
 * @returns The socket; `undefined` if it is not a `net.Socket`.
 */
export function socketUnder(secure: TLSSocket): Duplex | undefined {
  return (secure as TLSSocket & { _parent?: Duplex })._parent;
}

/**
 * The response of `node:http` that a connection is at. No public property leads there (nodejs/node
 * `lib/_http_server.js`, `assignSocket`). If a runtime ever loses `_httpMessage`, a drain cuts responses short.
 *
 * @param secure The connection.
 * @returns The response, or `undefined` if there is none.
 */
export function responseOn(secure: TLSSocket): ServerResponse | undefined {
  return (secure as TLSSocket & { _httpMessage?: ServerResponse | null })._httpMessage ?? undefined;
}

/** Properties of servers and sockets that hold a private key, or a context that holds one. */
const KEY_PLACES = new Set<string | undefined>([
  "key",
  "_secureContext",
  "_sharedCreds",
  "_tlsOptions",
  "::bunnetserveroptions::",
  // Where `https` servers of Bun have them.
  "options",
  "tls",
]);

/**
 * Hides the key of a server or a socket from `console.log()` and `console.dir()`.
 *
 * @param holder The server or the socket.
 * @returns The holder.
 */
export function hideKey<T extends Server | TLSSocket>(holder: T): T {
  const { _sharedCreds: context, ssl } = holder as T & { _sharedCreds?: object; ssl?: object | null };
  if (context) showAs(context, () => HIDDEN_CONTEXT);
  for (const each of [holder, ssl ?? {}]) {
    for (const name of Reflect.ownKeys(each)) {
      if (KEY_PLACES.has(propertyName(name))) Object.defineProperty(each, name, { enumerable: false });
    }
  }
  return holder;
}

/** The name of the function by which a `tls.Server` of Node and Deno accepts connections. */
const ACCEPTING_LISTENER = "tlsConnectionListener";

/**
 * Whether a server accepts connections by a listener that can be replaced. Servers of Bun do not.
 *
 * @param server The server.
 */
export function acceptsByListener(server: Server): boolean {
  return acceptingListenerOf(server) !== undefined;
}

/**
 * Replaces the listener by which a server accepts connections. Keeps the listeners of the user, and their order.
 *
 * @param server A server of `node:tls`, `node:https` or `node:http2`.
 * @param accept Accepts a connection.
 * @returns Restores the listener of the runtime when disposed of.
 */
export function replaceAcceptingListener(server: Server, accept: (socket: Duplex) => void): Disposable {
  const runtimeListener = acceptingListenerOf(server);
  replaceListener(server, runtimeListener, accept);
  return { [Symbol.dispose]: () => replaceListener(server, accept, runtimeListener) };
}

function acceptingListenerOf(server: Server): unknown {
  return server.rawListeners("connection").find(({ name }) => name === ACCEPTING_LISTENER);
}

function replaceListener(server: Server, previous: unknown, next: unknown): void {
  type Listener = (...args: unknown[]) => void;
  const listeners = server.rawListeners("connection") as Listener[];
  const index = listeners.indexOf(previous as Listener);
  if (index < 0) return;
  const later = listeners.slice(index + 1);
  for (const listener of [previous as Listener, ...later]) server.removeListener("connection", listener);
  for (const listener of [next as Listener, ...later]) server.on("connection", listener);
}

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
 *
 * @param server The server.
 * @returns The options that have a value.
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
 *
 * @param server The server.
 * @returns The options as they were given.
 */
export function createdWith(server: Server): Readonly<Record<string, unknown>> {
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

/**
 * The options that a server of Bun was created with and that have nothing to do with TLS.
 *
 * @param server The server.
 * @returns The options.
 */
export function otherOptions(server: Server): object {
  return Object.fromEntries(Object.entries(createdWith(server)).filter(([name]) => !CONFIGURED_OPTIONS.has(name)));
}

/** Options of a server that conflict with a configuration that changes. */
export interface ServerCallbacks {
  readonly SNICallback: unknown;
  readonly ALPNCallback: unknown;
  readonly pskCallback: unknown;
  readonly secureProtocol: unknown;
  /** The number of contexts that `addContext()` has added. */
  readonly addedContexts: number;
}

/**
 * Reads the callbacks and contexts of a server. Node keeps them under symbols, Deno under names with an underscore.
 *
 * @param server The server.
 * @returns The callbacks and contexts.
 */
export function callbacksOf(server: Server): ServerCallbacks {
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

/** The client authentication and the protocols of a server, and whether its sockets are paused. */
export interface ServerSettings {
  readonly pauseOnConnect: boolean;
  readonly requestCert: boolean;
  readonly rejectUnauthorized: boolean;
  readonly ALPNProtocols: Uint8Array | undefined;
}

/**
 * Reads the settings that a server uses for each connection. Bun names `requestCert` and `rejectUnauthorized` with an
 * underscore.
 *
 * @param server The server.
 * @returns The settings.
 */
export function settingsOf(server: Server): ServerSettings {
  const created = createdWith(server);
  const read = (name: string) => Reflect.get(server, name) ?? Reflect.get(server, `_${name}`) ?? created[name];
  return {
    pauseOnConnect: Boolean(Reflect.get(server, "pauseOnConnect")),
    requestCert: Boolean(read("requestCert")),
    rejectUnauthorized: Boolean(read("rejectUnauthorized")),
    ALPNProtocols: Reflect.get(server, "ALPNProtocols"),
  };
}

/**
 * Reads the time limit of handshakes of a server. Node keeps it under a symbol, Deno and Bun under `_handshakeTimeout`.
 *
 * @param server The server.
 * @returns Milliseconds; `undefined` if the time limit cannot be read.
 */
export function handshakeTimeoutOf(server: Server): number | undefined {
  const value = valueNamed(server, "handshake-timeout") ?? Reflect.get(server, "_handshakeTimeout");
  return typeof value === "number" && value > 0 ? value : undefined;
}

/** Whether a server was created with session ticket keys of its own. */
export function hasTicketKeys(server: Server): boolean {
  return Reflect.get(server, "ticketKeys") !== undefined;
}

/**
 * Replaces a method of one server.
 *
 * @param server The server.
 * @param name The method.
 * @param method The replacement.
 * @returns Restores the method when disposed of, unless other code has replaced it since.
 */
export function replaceMethod<Name extends keyof Server>(server: Server, name: Name, method: Server[Name]): Disposable {
  const previous = Object.getOwnPropertyDescriptor(server, name);
  Object.defineProperty(server, name, { value: method, configurable: true, enumerable: false, writable: true });
  return {
    [Symbol.dispose]: () => {
      if (server[name] !== method) return;
      if (previous) Object.defineProperty(server, name, previous);
      else delete server[name];
    },
  };
}

/** The value of the property whose symbol has this description. */
function valueNamed(server: Server, description: string): unknown {
  const symbol = Object.getOwnPropertySymbols(server).find((each) => each.description === description);
  return symbol && Reflect.get(server, symbol);
}

/** The name of a property, or the description of its symbol. */
function propertyName(name: string | symbol): string | undefined {
  return typeof name === "symbol" ? name.description : name;
}
