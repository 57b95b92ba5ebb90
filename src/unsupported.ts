import process from "node:process";
import { TlsReloadError } from "./errors.ts";

/** A runtime that this module supports, by its key in `process.versions`. */
type Runtime = "bun" | "deno" | "node";

const NAMES: Readonly<Record<Runtime, string>> = { bun: "Bun", deno: "Deno", node: "Node" };

/**
 * Makes the error for an action that this runtime, or this version of it, does not support. The error names both.
 *
 * @param action The action, such as `serve`.
 * @param reason The reason, and the alternative.
 */
export function unsupported(action: string, reason: string, cause?: unknown): TlsReloadError {
  const { name, version } = currentRuntime();
  return new TlsReloadError("UNSUPPORTED", `Cannot ${action} on ${name} ${version}: ${reason}`, { cause });
}

/**
 * Refuses versions of a runtime that are too old for an action.
 *
 * @param oldest The oldest version that supports the action, for each runtime with such a limit.
 * @throws {TlsReloadError} `UNSUPPORTED` if this runtime is older.
 */
export function requireVersion(
  action: string,
  oldest: Readonly<Partial<Record<Runtime, string>>>,
  alternative: string,
): void {
  const { key, name, version } = currentRuntime();
  const needed = oldest[key];
  if (needed === undefined || !isOlder(version, needed)) return;
  throw unsupported(action, `it needs ${name} ${needed} or later; update, or ${alternative}`);
}

/**
 * Refuses an action on a runtime that cannot do it in any version.
 *
 * @throws {TlsReloadError} `UNSUPPORTED` on this runtime.
 */
export function refuseOn(runtime: Runtime, action: string, reason: string): void {
  if (currentRuntime().key === runtime) throw unsupported(action, reason);
}

/** Bun and Deno also report the version of Node that they are compatible with. */
function currentRuntime(): { readonly key: Runtime; readonly name: string; readonly version: string } {
  const { versions } = process;
  const key = versions["bun"] ? "bun" : versions["deno"] ? "deno" : "node";
  return { key, name: NAMES[key], version: versions[key] ?? "" };
}

/** Compares major, minor and patch; a suffix such as `-canary.1` does not count. */
function isOlder(version: string, needed: string): boolean {
  const parts = version.split(".").map((part) => parseInt(part, 10));
  for (const [index, minimum] of needed.split(".").map(Number).entries()) {
    const part = parts[index] ?? 0;
    if (part !== minimum) return part < minimum;
  }
  return false;
}
