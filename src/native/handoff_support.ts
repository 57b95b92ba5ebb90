import { messageOf } from "../warnings.ts";
import { type HandoffSupport, thisThread } from "./handoff_thread.ts";
import { openLibc } from "./libc.ts";
import { LinuxKernel } from "./linux_kernel.ts";
import { checkHandoff } from "./self_check.ts";

/** Decides once for each thread whether the handoff can be used there, by trying it. Never rejects. */
export function handoffSupport(): Promise<HandoffSupport> {
  const thread = thisThread();
  return thread.support ??= findSupport().then((support) => thread.found = support);
}

/**
 * What is known before the handoff was tried: it is excluded where the C library cannot be called.
 *
 * @returns Why the handoff cannot be used, or `undefined` if it can, or may.
 */
export function handoffExclusion(): string | undefined {
  const { found } = thisThread();
  if (found) return found.tools ? undefined : found.reason;
  const libc = openLibc();
  return "reason" in libc ? libc.reason : undefined;
}

async function findSupport(): Promise<HandoffSupport> {
  const result = openLibc();
  if ("reason" in result) return { reason: result.reason, tools: undefined };
  try {
    return { reason: "Linux with FFI", tools: await checkHandoff(new LinuxKernel(result.libc)) };
  } catch (error) {
    return { reason: `the self-check failed: ${messageOf(error)}`, tools: undefined };
  }
}
