import type { DrainProgress } from "../accept/drain_tally.ts";
import type { ExpiryAlarm } from "./expiry_alarms.ts";
import type { ReloadResult } from "./reload_result.ts";

/** The events of a {@linkcode Reloader}. */
export interface ReloaderEventMap {
  /** A new configuration is served. */
  readonly swap: CustomEvent<Extract<ReloadResult, { outcome: "swapped" }>>;
  /** A reload found nothing new. */
  readonly unchanged: CustomEvent<Extract<ReloadResult, { outcome: "unchanged" }>>;
  /** A reload was rejected. Dispatched once for each change of the source or of the error. */
  readonly reject: CustomEvent<Extract<ReloadResult, { outcome: "rejected" }>>;
  /**
   * A pair of files cannot be loaded, while others can: its previous certificate stays in use. Dispatched once for each
   * error in a row, before the event of the outcome.
   */
  readonly partial: CustomEvent<PartialFailure>;
  /** A certificate was loaded that is not valid yet. Dispatched once for each certificate in a row. */
  readonly pending: CustomEvent<Extract<ReloadResult, { outcome: "pending" }>>;
  /**
   * A certificate in use expires soon or has expired, or a revocation list becomes stale. Dispatched once for each of
   * them and each level.
   */
  readonly expiring: CustomEvent<ExpiryNotice>;
  /**
   * A watch notices changes late or never, as `degraded` of its status says, or a file is missing for longer than it
   * takes to replace it. Dispatched once, and again when the problem changes.
   */
  readonly degraded: CustomEvent<DegradedWatch>;
  /** A followed stream has ended or failed. */
  readonly disconnect: CustomEvent<Disconnect>;
  /**
   * Connections begin to end after a swap, or all of them have ended. With a handoff, they are counted from time to
   * time, so that the event of their end comes with the count that misses them.
   */
  readonly drain: CustomEvent<DrainProgress>;
}

/** The details of a `partial` event. */
export interface PartialFailure {
  /** Why the pair cannot be loaded; its path is in the error. */
  readonly error: unknown;
}

/** The details of a `degraded` event. */
export interface DegradedWatch {
  /** What is wrong, and the remedy. */
  readonly message: string;
}

/** The details of a `disconnect` event. */
export interface Disconnect {
  /** The error of the stream; `undefined` if it has ended. */
  readonly error: unknown;
  /** The pause before the next subscription. */
  readonly retryMs: number;
}

/** The details of the events, by their type. */
export type EventDetails = { readonly [Type in keyof ReloaderEventMap]: ReloaderEventMap[Type]["detail"] };

/** The details of an `expiring` event. */
export type ExpiryNotice = ExpiryAlarm & {
  /** What ends and when, what has not come, and the last changes of its source. */
  readonly message: string;
};

/** A listener for any event of an `EventTarget`. Declared here, so that no DOM types are needed. */
export type ReloaderListener = ((event: Event) => unknown) | { handleEvent(event: Event): unknown };

/** The options of `EventTarget.addEventListener()`. */
export interface ReloaderListenerOptions {
  /** Two registrations of one listener that differ in `capture` are independent. */
  readonly capture?: boolean;
  /** Removes the listener after its first call. */
  readonly once?: boolean;
  /** Promises that the listener does not call `preventDefault()`. */
  readonly passive?: boolean;
  /** Removes the listener when aborted. */
  readonly signal?: AbortSignal;
}

/** The typed methods of `EventTarget`. */
export interface ReloaderEventTarget {
  /** Calls a function at each event of a type. */
  addEventListener<Type extends keyof ReloaderEventMap>(
    type: Type,
    listener: (event: ReloaderEventMap[Type]) => unknown,
    options?: boolean | ReloaderListenerOptions,
  ): void;
  /** Calls a function or an object at each event of a type. */
  addEventListener(
    type: string,
    listener: ReloaderListener | null,
    options?: boolean | ReloaderListenerOptions,
  ): void;
  /** Removes a listener of a type. */
  removeEventListener<Type extends keyof ReloaderEventMap>(
    type: Type,
    listener: (event: ReloaderEventMap[Type]) => unknown,
    options?: boolean | ReloaderListenerOptions,
  ): void;
  /** Removes a listener. */
  removeEventListener(
    type: string,
    listener: ReloaderListener | null,
    options?: boolean | ReloaderListenerOptions,
  ): void;
}

/** Dispatches the events of a {@linkcode Reloader}. */
export class ReloaderEventTarget extends EventTarget {}
