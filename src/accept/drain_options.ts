import { kindOf, numberOrKind, requireOptions } from "../arguments.ts";
import { MAX_MS } from "../durations.ts";

/** Which connections a swap ends. */
export type DrainWhen = "never" | "trust" | "always";

/**
 * Which connections end after a swap, and how.
 *
 * With `"trust"`, a swap that removes an authority, or otherwise refuses clients that the previous configuration let
 * in, ends connections. Where the server knows its clients, each client that may not enter any more is disconnected at
 * once, and every other connection stays. Where it does not (`Bun.serve`), idle connections of such a generation close
 * at once, requests that arrive later are refused with 421, with every value of `when`, and all others end by force
 * when `spreadMs` is over.
 *
 * With `"always"`, every swap also ends the connections of replaced generations: gently, spread over `spreadMs`, and by
 * force after `graceMs`. Each connection has its own moment for both, so that clients do not come back all at once.
 * The moments of force are in the last `spreadMs` of `graceMs`. If there is not time for both, each gets half of it.
 *
 * | server | clients are known | what "gently" means |
 * | --- | --- | --- |
 * | `attach()` to `https` on Node and Deno | yes | ends after a response that is under way, or idle |
 * | `attach()` to `https` on Bun | no | `Connection: close` on the next response; by force in the end |
 * | `attach()` to `http2` on all runtimes | yes | GOAWAY; streams finish. `allowHTTP1`: as `https` |
 * | `attach()` to `tls` on all runtimes | yes | the server ends its side |
 * | `acceptor()`, given to an `http.Server` | yes | as `https` |
 * | `acceptor()`, given to an `http2` server | yes | nothing; by force after `graceMs` |
 * | `acceptor()`, all others, upgraded ones too | yes | the server ends its side |
 * | `serve()` on Bun | no | `Connection: close` on the next response; WebSockets close with 1001 |
 * | `serve()` on Deno, handoff | no client authentication | `Connection: close` on the next response |
 * | `serve()` on Deno, front | yes | nothing; by force, each at its moment |
 * | `listenTls()`, handoff | no client authentication | the server ends its side |
 * | `listenTls()`, front | yes | the server ends its side |
 *
 * On Node and Deno, an `https` response that is being prepared gets `Connection: close`; after one that is being sent,
 * the connection ends. On Bun, idle connections close together: those of `https` at half of `spreadMs` (`"always"`: at
 * its end), those of `serve()` when `spreadMs` is over. With the handoff of `serve()` on Deno only clients of HTTP/1
 * follow `Connection: close`; all others end by force, together after `graceMs`.
 */
export interface DrainOptions {
  /**
   * Which connections a swap ends.
   *
   * @default {"trust"}
   */
  readonly when?: DrainWhen | undefined;
  /**
   * How long connections may take to end with `"always"`. `Infinity`: they are never ended by force.
   *
   * @default {30_000}
   */
  readonly graceMs?: number | undefined;
  /**
   * Over what time the ends are spread. 0: all at once.
   *
   * @default {10_000}
   */
  readonly spreadMs?: number | undefined;
}

/** {@linkcode DrainOptions} that have been checked. */
export type DrainPolicy = Readonly<{ when: DrainWhen; graceMs: number; spreadMs: number }>;

/** When the connections of a replaced generation end, counted from the swap. */
export interface DrainLimits {
  /** Within what time each of them is ended gently. */
  readonly gentleMs: number;
  /** When the last of them is ended by force. */
  readonly forceMs: number;
}

const WHEN: readonly unknown[] = ["never", "trust", "always"];

/** Checks the options of a drain. */
export function drainPolicyOf(options: DrainOptions = {}): DrainPolicy {
  requireOptions("drain of TlsState", options, ["when", "graceMs", "spreadMs"]);
  const { when = "trust", graceMs = 30_000, spreadMs = 10_000 } = options;
  if (!WHEN.includes(when)) {
    throw new TypeError(`Cannot drain: 'when' must be "never", "trust" or "always": ${kindOf(when)}`);
  }
  const isMs = (value: unknown) => typeof value === "number" && value >= 0 && value <= MAX_MS;
  if (!isMs(spreadMs)) {
    throw new TypeError(`Cannot drain: 'spreadMs' must be up to 2 ** 31 - 1 milliseconds: ${numberOrKind(spreadMs)}`);
  }
  if (!isMs(graceMs) && graceMs !== Infinity) {
    throw new TypeError(
      `Cannot drain: 'graceMs' must be up to 2 ** 31 - 1 milliseconds, or Infinity: ${numberOrKind(graceMs)}`,
    );
  }
  return { when, graceMs, spreadMs };
}

/**
 * Decides how all connections of a replaced generation end; `undefined` if they stay. With `isUntrusted`, some of them
 * may be of clients that may not enter any more, and it is not known which.
 */
export function drainLimits({ when, graceMs, spreadMs }: DrainPolicy, isUntrusted: boolean): DrainLimits | undefined {
  if (when === "never" || (when === "trust" && !isUntrusted)) return undefined;
  const forceMs = isUntrusted ? spreadMs : graceMs;
  return { gentleMs: Math.min(spreadMs, forceMs / 2), forceMs };
}
