/**
 * Private properties of encrypted sockets, and the places where servers and sockets hold a private key. Verified on Node
 * 22.23 and 24.21, Deno 2.9.6 and Bun 1.4.5. If a runtime changes a property, `tests/node_internals_test.ts` fails and
 * names it.
 */
import type { ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { Server, TLSSocket } from "node:tls";
import { HIDDEN_CONTEXT, showAs } from "../redaction.ts";

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
  // Where a context of Deno has it.
  "context",
  // Where `https` servers of Bun have them.
  "options",
  "tls",
]);

/**
 * Hides the key of a server or a socket from `console.log()` and `console.dir()`. The sockets of a server whose key is
 * hidden lead to no other copy, so they need not be hidden one by one.
 *
 * @param holder The server or the socket.
 * @returns The holder.
 */
export function hideKey<T extends Server | TLSSocket>(holder: T): T {
  const { _sharedCreds: context, ssl } = holder as T & { _sharedCreds?: object; ssl?: object | null };
  if (context) showAs(context, () => HIDDEN_CONTEXT);
  for (const each of [holder, context ?? {}, ssl ?? {}]) {
    for (const name of Reflect.ownKeys(each)) {
      if (KEY_PLACES.has(propertyName(name))) Object.defineProperty(each, name, { enumerable: false });
    }
  }
  return holder;
}

/** The name of a property, or the description of its symbol. */
function propertyName(name: string | symbol): string | undefined {
  return typeof name === "symbol" ? name.description : name;
}
