import { kindOf } from "../arguments.ts";
import type { Mechanism } from "./native_server.ts";

/** What every server of this module that follows a state takes beside its own options. */
export interface ServingOptions {
  /**
   * Forces the mechanism by which connections reach the newest native server. By default the handoff is used where it
   * works, and the front elsewhere; `mechanismReason` of the server says why.
   */
  readonly mechanism?: Mechanism | undefined;
  /**
   * Called with the error of a configuration that cannot serve, while the previous one continues. The configuration is
   * retried with growing pauses until it serves or is replaced.
   *
   * @default Emits a process warning.
   */
  readonly onTlsError?: ((error: unknown) => void) | undefined;
}

/** What an address may consist of. A private key in the wrong place holds other signs, and must not be shown. */
const HOSTNAME = /^[\p{L}\p{N}_.:%[\]-]{0,253}$/u;

/** Refuses what is neither a name nor an address with a `TypeError`, because the runtimes show it in their errors. */
export function requireHostname(where: string, hostname: string | undefined): void {
  if (hostname === undefined || (typeof hostname === "string" && HOSTNAME.test(hostname))) return;
  throw new TypeError(`Cannot call ${where}: 'hostname' must be a name or an address: ${kindOf(hostname)}`);
}

/** The options that go to the server of the runtime as they are: all but those that this module handles by itself. */
export function optionsForRuntime(options: object, ownNames: readonly string[]): Record<string, unknown> {
  const others: Record<string, unknown> = { ...options };
  for (const name of ownNames) delete others[name];
  return others;
}
