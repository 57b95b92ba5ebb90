import type { TlsState } from "../accept/tls_state.ts";
import { kindOf } from "../arguments.ts";
import { unsupported } from "../unsupported.ts";
import { handoffSupport } from "./handoff_support.ts";
import type { ListenAddress, NativeRuntime, NativeServer, ServingGenerations } from "./native_server.ts";
import { openHandoff } from "./open_handoff.ts";
import type { ServingOptions } from "./serving_options.ts";

/** How a server is served by each mechanism. */
interface ServingMechanisms<Server extends NativeServer> {
  /** Starts native servers for the handoff. */
  readonly runtime: NativeRuntime<Server>;
  /** Opens the front instead. */
  readonly openFront: (mechanismReason: string) => Promise<ServingGenerations<Server>>;
  /** Why this server can only be served by the front, such as `client authentication`. */
  readonly needsFront?: string | undefined;
}

/**
 * Opens a server by the handoff where it works, and by the front elsewhere. The `mechanismReason` of the generations
 * names the reason.
 *
 * | `mechanism` | the handoff works | it does not |
 * | --- | --- | --- |
 * | not given | handoff | front |
 * | `"handoff"` | handoff | `UNSUPPORTED`, with the reason |
 * | `"front"` | front | front |
 *
 * @throws {TlsReloadError} `UNSUPPORTED` if the forced mechanism cannot be used.
 */
export async function openServing<Server extends NativeServer>(
  state: TlsState,
  address: ListenAddress,
  options: ServingOptions,
  { runtime, openFront, needsFront }: ServingMechanisms<Server>,
): Promise<ServingGenerations<Server>> {
  const { mechanism } = options;
  if (mechanism !== undefined && mechanism !== "handoff" && mechanism !== "front") {
    throw new TypeError(`Cannot serve: 'mechanism' must be "handoff" or "front": ${kindOf(mechanism)}`);
  }
  if (mechanism === "front") return await openFront("front: option 'mechanism'");
  const { reason, tools } = needsFront ? { reason: needsFront } : await handoffSupport();
  if (tools) return await openHandoff(state, runtime, address, options);
  if (mechanism === "handoff") throw unsupported("serve", `the handoff cannot be used: ${reason}`);
  return await openFront(`front: ${reason}`);
}
