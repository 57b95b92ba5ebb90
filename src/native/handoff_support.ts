import { openLibc } from "../kernel/libc.ts";
import { LinuxKernel } from "../kernel/linux_kernel.ts";
import { messageOf } from "../warnings.ts";
import type { HandoffTools } from "./public_socket.ts";
import { checkHandoff } from "./self_check.ts";

/** What the handoffs of this thread share, or why there can be none, such as `no permission --allow-ffi`. */
type HandoffSupport =
  | { readonly tools: HandoffTools; readonly reason?: undefined }
  | { readonly tools?: undefined; readonly reason: string };

/** A handoff that a hot reload can adopt. */
export interface LiveHandoff {
  readonly handoff: unknown;
  /** The address as the user gave it. At the same one, the same program starts the same kind of server. */
  readonly key: string;
  /** The evaluation of the program that opened or adopted it. */
  evaluation: object;
}

/**
 * The handoffs of a thread. They outlive an evaluation of this module: `bun --hot` evaluates the module again, and two
 * copies of it may be loaded.
 */
interface Thread {
  /** Whether the handoff can be used, once that is being tried. */
  support?: Promise<HandoffSupport>;
  /** The result, once it is known. */
  found?: HandoffSupport;
  /** The handoffs that listen. */
  readonly live: Set<LiveHandoff>;
}

/** Changes when the meaning of {@linkcode Thread} does. */
const THREAD = Symbol.for("@x/tls-reload handoff 1");

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
  if (found) return found.reason;
  const libc = openLibc();
  return "reason" in libc ? libc.reason : undefined;
}

/** The handoffs of this thread that listen. */
export function liveHandoffs(): Set<LiveHandoff> {
  return thisThread().live;
}

function thisThread(): Thread {
  const holder = globalThis as { [THREAD]?: Thread };
  return holder[THREAD] ??= { live: new Set() };
}

async function findSupport(): Promise<HandoffSupport> {
  const result = openLibc();
  if ("reason" in result) return result;
  try {
    return { tools: await checkHandoff(new LinuxKernel(result.libc)) };
  } catch (error) {
    return { reason: `the self-check failed: ${messageOf(error)}` };
  }
}
