/**
 * Everything that this module borrows from the insides of Deno. Nothing else reads a property of `Deno[Deno.internal]`.
 * Seen on Deno 2.7.14, 2.8.0 and 2.9.6; `tests/deno/internals_test.ts` fails with the name of the property that is
 * gone.
 */
import type { DenoNativeServer, DenoServeHandler } from "./types.ts";

/**
 * Gives the certificate and key of a name, `""` where a client sends none. An error that it throws refuses the client.
 */
export type NameResolver = (name: string) => { readonly cert: string; readonly key: string };

/** How a listener and an HTTP server of Deno serve several names. */
interface NamedServing {
  /**
   * The option of `Deno.listenTls` that takes a {@linkcode NameResolver} in place of `cert` and `key`. Deno has no
   * public one (denoland/deno `ext/net/02_tls.js`).
   */
  readonly resolverSymbol: symbol;
  /** What `Deno.serve` itself calls; it takes no resolver (denoland/deno `ext/http/00_serve.ts`). */
  serveHttpOnListener(
    listener: object,
    signal: AbortSignal,
    handler: DenoServeHandler,
    onError: (error: unknown) => Response | Promise<Response>,
    onListen: (scheme: string) => void,
    automaticCompression?: boolean,
  ): DenoNativeServer;
}

/** How Deno serves several names; `undefined` on another runtime, and on a version that does not do so. */
export function namedServing(): NamedServing | undefined {
  const deno = (globalThis as { Deno?: { readonly internal?: symbol } }).Deno;
  const internals = deno?.internal && Reflect.get(deno, deno.internal) as Partial<NamedServing> | undefined;
  const { resolverSymbol, serveHttpOnListener } = internals ?? {};
  if (typeof resolverSymbol !== "symbol" || typeof serveHttpOnListener !== "function") return undefined;
  return { resolverSymbol, serveHttpOnListener };
}
