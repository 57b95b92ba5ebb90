import type { ReloaderEventMap, ReloaderListener, ReloaderListenerOptions } from "./events.ts";

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
