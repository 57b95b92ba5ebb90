import process from "node:process";
import { addFollower, sharedBy, type TlsState } from "../accept/tls_state.ts";
import { unsupported } from "../unsupported.ts";
import { Handoff } from "./handoff.ts";
import type { HandoffOptions, HandoffSetting } from "./handoff_setting.ts";
import { handoffSupport } from "./handoff_support.ts";
import { type LiveHandoff, thisThread } from "./handoff_thread.ts";
import type { ListenAddress, NativeRuntime, NativeServer, ServingGenerations } from "./native_server.ts";
import type { HandoffTools } from "./public_socket.ts";

/** Identifies the evaluation of this module: `bun --hot` evaluates it once for each change of the program. */
const thisEvaluation = {};

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
  const { tools, mechanismReason } = await requireSupport();
  const key = `${address.hostname ?? ""} ${address.port}`;
  const left = leftByHotReload(key);
  if (left) {
    const handoff = left.handoff as Handoff<Server>;
    left.evaluation = thisEvaluation;
    await handoff.adopt(setting);
    return handoff;
  }
  const { live } = thisThread();
  const handoff = await Handoff.open(tools, mechanismReason, address, setting);
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
  const { tools, mechanismReason } = await requireSupport();
  return await Handoff.takeOver(tools, mechanismReason, server, setting);
}

async function requireSupport(): Promise<{ readonly tools: HandoffTools; readonly mechanismReason: string }> {
  const { reason, tools } = await handoffSupport();
  if (!tools) throw unsupported("hand over", reason);
  return { tools, mechanismReason: `handoff: ${reason}` };
}

/** The handoff that an earlier evaluation of the program has left at an address, under `bun --hot`. */
function leftByHotReload(key: string): LiveHandoff | undefined {
  if (!process.execArgv.includes("--hot")) return undefined;
  return [...thisThread().live].find((each) => each.key === key && each.evaluation !== thisEvaluation);
}
