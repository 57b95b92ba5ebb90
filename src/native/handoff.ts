import process from "node:process";
import { addFollower, sharedBy, type TlsState } from "../accept/tls_state.ts";
import { unsupported } from "../unsupported.ts";
import { messageOf } from "../warnings.ts";
import { Handoff, type HandoffOptions, type HandoffSetting } from "./handoff_generations.ts";
import { openLibc } from "./libc.ts";
import { LinuxKernel } from "./linux_kernel.ts";
import type { ListenAddress, NativeRuntime, NativeServer, ServingGenerations } from "./native_server.ts";
import type { HandoffTools } from "./public_socket.ts";
import { checkHandoff } from "./self_check.ts";

export type { HandoffFollower, HandoffOptions, HandoffSetting } from "./handoff_generations.ts";

/** Whether the handoff can be used in this thread. */
export interface HandoffSupport {
  /** What was found, such as `Linux with FFI` or `no permission --allow-ffi`. */
  readonly reason: string;
  /** What the handoffs share; `undefined` if the handoff cannot be used. */
  readonly tools: HandoffTools | undefined;
}

/** A handoff that a hot reload can adopt. */
interface LiveHandoff {
  readonly handoff: unknown;
  /** The address as the user gave it. At the same one, the same program starts the same kind of server. */
  readonly key: string;
  /** The evaluation of this module that opened or adopted it. */
  evaluation: object;
}

/** What outlives an evaluation of this module: `bun --hot` evaluates it again, and two copies may be loaded. */
interface Thread {
  support: Promise<HandoffSupport> | undefined;
  /** What it was resolved to. */
  found?: HandoffSupport;
  readonly live: Set<LiveHandoff>;
}

/** Changes when the meaning of {@linkcode Thread} does. */
const THREAD = Symbol.for("@x/tls-reload handoff 1");
const thisEvaluation = {};

function thisThread(): Thread {
  const holder = globalThis as { [THREAD]?: Thread };
  return holder[THREAD] ??= { support: undefined, live: new Set() };
}

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

/**
 * Serves with native servers that hand one public socket on, so that each connection is served by a native server at
 * its own speed.
 *
 * Under `bun --hot`, a handoff that an earlier evaluation of the program opened for the same address is adopted: its
 * socket and its connections stay.
 *
 * @param state What to serve with.
 * @param runtime How servers are started.
 * @param address The public address.
 * @param options What to do with old generations and with those that do not start.
 * @returns The generations, when the first one listens.
 * @throws {TlsReloadError} `UNSUPPORTED` where the handoff cannot be used, with the reason; `CONFIG_UNUSABLE` if the
 * configuration cannot serve.
 * @throws {Error} The error of the system, such as `EADDRINUSE`, if it cannot listen there.
 */
export async function openHandoff<Server extends NativeServer>(
  state: TlsState,
  runtime: NativeRuntime<Server>,
  address: ListenAddress,
  options: HandoffOptions = {},
): Promise<ServingGenerations<Server>> {
  const { drain } = sharedBy(state);
  return await openHandoffOf({ state, runtime, options, drain, follow: addFollower.bind(undefined, state) }, address);
}

/** The same with a setting, for servers that follow one state after the other. */
export async function openHandoffOf<Server extends NativeServer>(
  setting: HandoffSetting<Server>,
  address: ListenAddress,
): Promise<ServingGenerations<Server>> {
  const { reason, tools } = await handoffSupport();
  if (!tools) throw unsupported("hand over", reason);
  const { live } = thisThread();
  const key = `${address.hostname ?? ""} ${address.port}`;
  for (const each of live) {
    if (each.key !== key || each.evaluation === thisEvaluation || !isHotReload()) continue;
    const handoff = each.handoff as Handoff<Server>;
    each.evaluation = thisEvaluation;
    await handoff.adopt(setting);
    return handoff;
  }
  const handoff = await Handoff.open(tools, `handoff: ${reason}`, address, setting);
  const entry: LiveHandoff = { handoff, key, evaluation: thisEvaluation };
  live.add(entry);
  handoff.closed.then(() => live.delete(entry));
  return handoff;
}

/**
 * Takes over from a server that listens already: later generations get its socket.
 *
 * @param setting What to serve with.
 * @param server The server. It is stopped when its last connection has ended.
 * @returns The generations, when the first of them serves.
 * @throws {TlsReloadError} `UNSUPPORTED` where the handoff cannot be used, with the reason; `CONFIG_UNUSABLE` if the
 * configuration cannot serve. Then the server serves on as before.
 */
export async function takeOver<Server extends NativeServer>(
  setting: HandoffSetting<Server>,
  server: Server,
): Promise<ServingGenerations<Server>> {
  const { reason, tools } = await handoffSupport();
  if (!tools) throw unsupported("hand over", reason);
  return await Handoff.takeOver(tools, `handoff: ${reason}`, server, setting);
}

function isHotReload(): boolean {
  return process.execArgv.includes("--hot");
}
