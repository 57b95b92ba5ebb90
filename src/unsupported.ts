import process from "node:process";
import { TlsReloadError } from "./errors.ts";

/**
 * The error for what this runtime, or this version of it, cannot do.
 *
 * @param action What was asked for, such as `serve`.
 * @param reason What is missing, and what to use instead.
 * @param cause What the runtime threw, if it did.
 * @returns The error, which names the runtime and its version.
 */
export function unsupported(action: string, reason: string, cause?: unknown): TlsReloadError {
  const { bun, deno, node } = process.versions;
  const runtime = bun ? `Bun ${bun}` : deno ? `Deno ${deno}` : `Node ${node}`;
  return new TlsReloadError("UNSUPPORTED", `Cannot ${action} on ${runtime}: ${reason}`, { cause });
}
