import process from "node:process";
import { addFollower, sharedBy, type TlsState } from "../accept/tls_state.ts";
import { unsupported } from "../unsupported.ts";
import { Handoff, type HandoffOptions } from "./handoff.ts";
import { handoffSupport, type LiveHandoff, liveHandoffs } from "./handoff_support.ts";
import type { ListenAddress, NativeRuntime, NativeServer, ServingGenerations } from "./native_server.ts";
import type { HandoffTools } from "./public_socket.ts";
import type { ServingOptions } from "./serving_options.ts";

/** Identifies the evaluation of this module: `bun --hot` evaluates it once for each change of the program. */
const thisEvaluation = {};

/**
 * Serves with native servers that hand one public socket on, so that each connection is served by a native server at
 * its own speed.
 *
 * Under `bun --hot`, a handoff that an earlier evaluation of the program opened for the same address is adopted: its
 * socket and its connections stay.
 *
 * @throws {TlsReloadError} `UNSUPPORTED` where the handoff cannot be used, with the reason; `CONFIG_UNUSABLE` if the
 * configuration cannot serve.
 * @throws {Error} The error of the system, such as `EADDRINUSE`, if it cannot listen there.
 */
export async function openHandoff<Server extends NativeServer>(
  state: TlsState,
  runtime: NativeRuntime<Server>,
  address: ListenAddress,
  { onTlsError }: Pick<ServingOptions, "onTlsError"> = {},
): Promise<ServingGenerations<Server>> {
  const { drain, drainTally } = sharedBy(state);
  const follow = addFollower.bind(undefined, state);
  return await openHandoffWith({ state, runtime, onTlsError, drain, drainTally, follow }, address);
}

/** The same for servers that follow one state after the other. */
export async function openHandoffWith<Server extends NativeServer>(
  options: HandoffOptions<Server>,
  address: ListenAddress,
): Promise<ServingGenerations<Server>> {
  const tools = await requireTools();
  const key = `${address.hostname ?? ""} ${address.port}`;
  const left = leftByHotReload(key);
  if (left) {
    const handoff = left.handoff as Handoff<Server>;
    left.evaluation = thisEvaluation;
    await handoff.adopt(options);
    return handoff;
  }
  const handoff = await Handoff.open(tools, address, options);
  const entry: LiveHandoff = { handoff, key, evaluation: thisEvaluation };
  liveHandoffs().add(entry);
  handoff.closed.then(() => liveHandoffs().delete(entry));
  return handoff;
}

/**
 * Takes over from a server that listens already: later generations get its socket. The server is stopped when its last
 * connection has ended.
 *
 * @throws {TlsReloadError} `UNSUPPORTED` where the handoff cannot be used, with the reason; `CONFIG_UNUSABLE` if the
 * configuration cannot serve. Then the server serves on as before.
 */
export async function takeOver<Server extends NativeServer>(
  options: HandoffOptions<Server>,
  server: Server,
): Promise<ServingGenerations<Server>> {
  return await Handoff.takeOver(await requireTools(), server, options);
}

async function requireTools(): Promise<HandoffTools> {
  const { reason, tools } = await handoffSupport();
  if (!tools) throw unsupported("hand over", reason);
  return tools;
}

/** The handoff that an earlier evaluation of the program has left at an address, under `bun --hot`. */
function leftByHotReload(key: string): LiveHandoff | undefined {
  if (!process.execArgv.includes("--hot")) return undefined;
  return [...liveHandoffs()].find((each) => each.key === key && each.evaluation !== thisEvaluation);
}
