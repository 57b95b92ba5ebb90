import { numberOrKind, requireOptions, requireOptionTypes } from "../arguments.ts";
import type { AllowClient } from "./client_identity.ts";
import { type DrainOptions, type DrainPolicy, drainPolicyOf } from "./drain_options.ts";
import { MAX_CONTEXTS } from "./recent_servers.ts";

/** The options of {@linkcode TlsState}. */
export interface TlsStateOptions {
  /**
   * Decides about each client after its certificate was verified, fresh or resumed, such as by its SPIFFE identity. It
   * is not asked about clients without a certificate. Only `true` lets a client in. An error or a promise is a refusal,
   * and emits a process warning.
   *
   * @default Every client that was verified may enter.
   */
  readonly allowClient?: AllowClient | undefined;
  /**
   * Which connections end after a swap, and how.
   *
   * @default Where clients are known, those that may not enter any more are disconnected; where they are not, a swap
   * that takes trust away ends the connections of older generations.
   */
  readonly drain?: DrainOptions | undefined;
  /**
   * Whether a connection ends when its client's certificate does, or another one of its path. Servers that do not know
   * their clients ignore it.
   *
   * @default {false}
   */
  readonly endWithClientCertificate?: boolean | undefined;
  /**
   * How many contexts are kept for configurations of several certified keys: one for each key that clients have asked
   * for, the last ones. Others are made again when a client asks. On Node each takes about 41 KiB.
   *
   * @default {1_000}
   */
  readonly maxContexts?: number | undefined;
}

/** {@linkcode TlsStateOptions} that have been checked. */
export interface StateSettings {
  readonly allowClient: AllowClient | undefined;
  readonly drain: DrainPolicy;
  readonly endWithClientCertificate: boolean;
  readonly maxContexts: number;
}

const OPTION_NAMES = ["allowClient", "drain", "endWithClientCertificate", "maxContexts"];
const OPTION_HINTS = { drainTimeoutMs: "drain" };

/**
 * Checks the options of a state.
 *
 * @throws {TypeError} If an option is unknown or is none of its allowed values.
 */
export function stateSettings(options: TlsStateOptions): StateSettings {
  requireOptions("TlsState", options, OPTION_NAMES, OPTION_HINTS);
  requireOptionTypes("TlsState", options, { allowClient: "a function", endWithClientCertificate: "a boolean" });
  const { allowClient, endWithClientCertificate = false, maxContexts = MAX_CONTEXTS } = options;
  const drain = drainPolicyOf(options.drain);
  if (!Number.isInteger(maxContexts) || maxContexts < 1) {
    throw new TypeError(`Cannot make TlsState: 'maxContexts' must be a positive integer: ${numberOrKind(maxContexts)}`);
  }
  return { allowClient, drain, endWithClientCertificate, maxContexts };
}
