import process from "node:process";
import * as tls from "node:tls";
import { RootCache } from "./cache.ts";
import { nodeFileSystem } from "./files.ts";
import { loadRoots, timeLimit } from "./load.ts";
import type { RootSystem } from "./sources.ts";
import type { RootCertStore } from "./store.ts";

/** The part of Deno's global object that is used here. */
interface DenoGlobal {
  readonly Deno?: { readonly env: { get(name: string): string | undefined } };
}

/** Two copies of this module share a cache. The number rises when its methods change. */
const CACHE = Symbol.for("@x/tls-reload/native-roots/1");

/**
 * The trusted roots of the system. The first call reads them, every later one gives the same store, at once.
 *
 * The outcome of the first call stays, also if it is an error: later calls get the same object without reading a file
 * again, until {@linkcode refreshNativeRoots} succeeds.
 *
 * @returns The store.
 * @throws {NativeRootsError} If no source has a usable root, after three attempts if the errors may pass. It lists the
 * error of each source.
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
 * Reads the roots at boot, so that no request waits for them. The same as {@linkcode nativeRoots}.
 *
 * @returns The store.
 * @throws {NativeRootsError} If no source has a usable root.
 */
export function warmNativeRoots(): Promise<RootCertStore> {
  return cache().get();
}

/**
 * Reads the roots again. {@linkcode nativeRoots} gives the new store only if this succeeds. Earlier stores, and clients
 * that were made with them, do not change.
 *
 * On Windows the runtime reads its list once in the life of a process, so a refresh gives the same list.
 *
 * @returns The new store.
 * @throws {NativeRootsError} If no source has a usable root; the previous store stays.
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
