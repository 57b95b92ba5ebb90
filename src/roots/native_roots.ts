import process from "node:process";
import * as tls from "node:tls";
import { RootCache } from "./cache.ts";
import { nodeFileSystem } from "./files.ts";
import { loadRoots, timeLimit } from "./load.ts";
import type { RootSystem } from "./sources.ts";
import type { RootCertStore } from "./store.ts";

/** The part of the global object of Deno that this file uses. */
interface DenoGlobal {
  readonly Deno?: { readonly env: { get(name: string): string | undefined } };
}

/** Two copies of this module share a cache. The number changes when the methods of the cache change. */
const CACHE = Symbol.for("@x/tls-reload/native-roots/1");

/**
 * Returns the trusted roots of the system. The first call reads them, and later calls return the same store at once.
 *
 * The outcome of the first call is kept, even if it is an error, until {@linkcode refreshNativeRoots} succeeds. Later
 * calls do not read a file again.
 *
 * @returns The store.
 * @throws {NativeRootsError} If no source has a usable root, after two retries if the errors are temporary. It lists
 * the error of each source.
 *
 * @example
 * ```ts ignore
 * import https from "node:https";
 * import { nativeRoots } from "@x/tls-reload";
 *
 * const agent = new https.Agent({ secureContext: (await nativeRoots()).secureContext() });
 * ```
 */
export function nativeRoots(): Promise<RootCertStore> {
  return cache().get();
}

/**
 * Reads the roots at the start of a program, so that no request waits for them. The same as {@linkcode nativeRoots}.
 *
 * @returns The store.
 * @throws {NativeRootsError} If no source has a usable root.
 */
export function warmNativeRoots(): Promise<RootCertStore> {
  return cache().get();
}

/**
 * Reads the roots again. After a success, {@linkcode nativeRoots} returns the new store. Earlier stores, and clients
 * that use them, do not change.
 *
 * On Windows the runtime reads its list once for the process, so a refresh returns the same list.
 *
 * @returns The new store.
 * @throws {NativeRootsError} If no source has a usable root. The previous store is kept.
 *
 * @example
 * ```ts ignore
 * import { refreshNativeRoots } from "@x/tls-reload";
 *
 * setInterval(() => refreshNativeRoots().catch(console.error), 6 * 60 * 60 * 1000).unref();
 * ```
 */
export function refreshNativeRoots(): Promise<RootCertStore> {
  return cache().refresh();
}

function cache(): RootCache {
  const holder = globalThis as { [CACHE]?: RootCache };
  return holder[CACHE] ??= new RootCache(() => loadRoots(machine()));
}

function machine(): RootSystem {
  const { Deno } = globalThis as DenoGlobal;
  const { getCACertificates } = tls as { getCACertificates?: (kind: "system") => string[] };
  return {
    platform: process.platform,
    env: (name) => Deno ? Deno.env.get(name) : process.env[name],
    files: nodeFileSystem,
    security: "/usr/bin/security",
    runtimeRoots: getCACertificates && (() => getCACertificates("system")),
    limit: timeLimit,
  };
}
