import { warn } from "../warnings.ts";
import type { ReloaderEventMap } from "./events.ts";
import type { ExpiryAlarm } from "./expiry_alarms.ts";
import type { ReloadResult } from "./reload_result.ts";

/** The events of the outcomes. */
const EVENTS = { swapped: "swap", unchanged: "unchanged", pending: "pending", rejected: "reject" } as const;

/** Makes what happens in a reloader known: as an event, and as a process warning where an event is not handled. */
export class Announcer {
  readonly #target: EventTarget;

  /** @param target Dispatches the events. */
  constructor(target: EventTarget) {
    this.#target = target;
  }

  /** Announces the outcome of a reload. */
  reload(result: ReloadResult): void {
    const isHandled = this.#dispatch(EVENTS[result.outcome], result);
    if (result.outcome === "rejected" && !isHandled) warn(result.error);
  }

  /** Announces an expiry. */
  expiring(alarm: ExpiryAlarm, message: string): void {
    if (!this.#dispatch("expiring", { ...alarm, message })) warn(message);
  }

  /** Announces that a followed stream has ended, and when it is subscribed to again. */
  disconnect(error: unknown, retryMs: number): void {
    this.#dispatch("disconnect", { error, retryMs });
  }

  /** Dispatches an event, and tells whether a listener has called `preventDefault()`. */
  #dispatch<Type extends keyof ReloaderEventMap>(type: Type, detail: ReloaderEventMap[Type]["detail"]): boolean {
    return !this.#target.dispatchEvent(new CustomEvent(type, { detail, cancelable: true }));
  }
}
