import { channel } from "node:diagnostics_channel";
import type { DrainProgress } from "../accept/drain_tally.ts";
import { warn } from "../warnings.ts";
import type { EventDetails } from "./events.ts";
import type { ExpiryAlarm } from "./expiry_alarms.ts";
import { logEvent, type Logger } from "./logger.ts";
import type { ReloadResult } from "./reload_result.ts";

/** The event of each outcome. */
const EVENTS = { swapped: "swap", unchanged: "unchanged", pending: "pending", rejected: "reject" } as const;

/**
 * Announces the events of a reloader: dispatches an event, publishes to the diagnostics channel `tls-reload:EVENT`, and
 * calls the logger. Without a logger, emits a process warning for a failure that no listener handles.
 */
export class Announcer {
  readonly #target: EventTarget;
  readonly #logger: Logger | undefined;
  constructor(target: EventTarget, logger: Logger | undefined) {
    this.#target = target;
    this.#logger = logger;
  }

  /** Announces the outcome of a reload. */
  reload(result: ReloadResult): void {
    const isUnhandled = this.#announce(EVENTS[result.outcome], result);
    if (result.outcome === "rejected" && isUnhandled) warn(result.error);
  }

  /** Announces a part of the source that cannot be loaded. */
  partial(error: unknown): void {
    if (this.#announce("partial", { error })) warn(error);
  }

  /** Announces an expiry. */
  expiring(alarm: ExpiryAlarm, message: string): void {
    if (this.#announce("expiring", { ...alarm, message })) warn(message);
  }

  /** Announces a problem of a watch. */
  degraded(message: string): void {
    if (this.#announce("degraded", { message })) warn(message);
  }

  /** Announces that a followed stream has ended, and the pause before the next subscription. */
  disconnect(error: unknown, retryMs: number): void {
    this.#announce("disconnect", { error, retryMs });
  }

  /** Announces that connections begin to end after a swap, or that all of them have ended. */
  drain(progress: DrainProgress): void {
    this.#announce("drain", progress);
  }

  /** Returns whether neither a listener nor a logger has handled the event. */
  #announce<Type extends keyof EventDetails>(type: Type, detail: EventDetails[Type]): boolean {
    const isUnhandled = this.#target.dispatchEvent(new CustomEvent(type, { detail, cancelable: true }));
    channel(`tls-reload:${type}`).publish({ reloader: this.#target, detail });
    if (this.#logger) logEvent(this.#logger, type, detail);
    return isUnhandled && this.#logger === undefined;
  }
}
