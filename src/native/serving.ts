import type { TlsState } from "../accept/tls_state.ts";
import { kindOf } from "../arguments.ts";
import { unsupported } from "../unsupported.ts";
import { handoffSupport } from "./handoff_support.ts";
import { openHandoff } from "./open_handoff.ts";
import type { ListenAddress, NativeRuntime, NativeServer, ServingGenerations } from "./native_server.ts";
import type { ServingOptions } from "./serving_options.ts";

/** The server that {@linkcode openServing} opens. */
export interface ServingPlan<Server extends NativeServer> {
  /** The state to follow. */
  readonly state: TlsState;
  /** Starts native servers for the handoff. */
  readonly runtime: NativeRuntime<Server>;
  /** The public address. */
  readonly address: ListenAddress;
  /** The options of the server. */
  readonly options: ServingOptions;
  /** Opens the front instead. */
  readonly openFront: (mechanismReason: string) => Promise<ServingGenerations<Server>>;
  /** Why this server can only be served by the front, such as `client authentication`. */
  readonly needsFront?: string | undefined;
}

/**
 * Opens a server by the handoff where it works, and by the front elsewhere.
 *
 * | `mechanism` | the handoff works | it does not |
 * | --- | --- | --- |
 * | not given | handoff | front |
 * | `"handoff"` | handoff | `UNSUPPORTED`, with the reason |
 * | `"front"` | front | front |
 *
 * @param plan The state, the server and how to open a front.
 * @returns The generations of the server; their `mechanismReason` names the reason of the choice.
 * @throws {TlsReloadError} `UNSUPPORTED` if the forced mechanism cannot be used.
 */
export async function openServing<Server extends NativeServer>(
  plan: ServingPlan<Server>,
): Promise<ServingGenerations<Server>> {
  const { mechanism } = plan.options;
  if (mechanism !== undefined && mechanism !== "handoff" && mechanism !== "front") {
    throw new TypeError(`Cannot serve: 'mechanism' must be "handoff" or "front": ${kindOf(mechanism)}`);
  }
  if (mechanism === "front") return await plan.openFront("front: option 'mechanism'");
  const { reason, tools } = plan.needsFront ? { reason: plan.needsFront, tools: undefined } : await handoffSupport();
  if (tools) return await openHandoff(plan.state, plan.runtime, plan.address, plan.options);
  if (mechanism === "handoff") throw unsupported("serve", `the handoff cannot be used: ${reason}`);
  return await plan.openFront(`front: ${reason}`);
}
