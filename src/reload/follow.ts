import { clearTimeout, setTimeout } from "node:timers";
import { setImmediate as nextTurn } from "node:timers/promises";
import { Backoff } from "../backoff.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { messageOf } from "../warnings.ts";
import type { FollowStatus } from "./status.ts";

/** The options of {@linkcode Reloader.follow}. */
export interface FollowOptions<Item> {
  /**
   * Makes a configuration from an item that holds the whole configuration: certificate, key, client authorities. The
   * source must yield its current value first. After the first item, each reload uses the latest item in place of
   * `load`.
   */
  readonly toConfig?: ((item: Item) => TlsConfig | Promise<TlsConfig>) | undefined;
  /**
   * The maximum of a random delay between an item and its reload. It spreads the reloads of many processes. The first
   * reload is not delayed.
   *
   * @default {0}
   */
  readonly splayMs?: number | undefined;
  /**
   * The interval of reloads without an item. `Infinity` disables them, and is the default with `toConfig`.
   *
   * @default {30_000}
   */
  readonly pollIntervalMs?: number | undefined;
}

/** The options of a stream, for `requireOptions()`. */
export const FOLLOW_OPTION_NAMES: readonly string[] = ["toConfig", "splayMs", "pollIntervalMs"];

/** Subscribes to a source. The signal is aborted when the subscription is no longer wanted. */
export type Subscribe<Item> = (signal: AbortSignal) => AsyncIterable<Item>;

/** What a {@linkcode StreamTrigger} gets from its owner. */
export interface StreamContext<Item> {
  /** Called when a reload is due, with the latest item, or with `undefined` after a subscription. */
  readonly onDue: (latest: { readonly item: Item } | undefined) => void;
  /** Called when a subscription has ended: with the error, if there was one, and the pause before the next one. */
  readonly onDisconnect: (error: unknown, retryMs: number) => void;
}

const BACKOFF = { firstMs: 1_000, lastMs: 30_000, jitter: 0.2 };

/**
 * Follows a stream of changes.
 *
 * Invariant: while it is open, either a subscription is read or the timer for the next one is set. At most one reload
 * waits for its delay. Items that arrive meanwhile only replace the item of that reload.
 */
export class StreamTrigger<Item> {
  readonly #subscribe: Subscribe<Item>;
  readonly #splayMs: number;
  readonly #reloadsOnSubscribe: boolean;
  readonly #context: StreamContext<Item>;
  readonly #backoff = new Backoff(BACKOFF);
  #subscriptions = 0;
  #items = 0;
  #connected: boolean | undefined;
  #since: Date | undefined;
  #lastItem: Date | undefined;
  #lastError: string | undefined;
  #latest: { readonly item: Item } | undefined;
  #subscription: AbortController | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #splayTimer: NodeJS.Timeout | undefined;
  #isOpen = true;

  constructor(subscribe: Subscribe<Item>, options: FollowOptions<Item>, context: StreamContext<Item>) {
    this.#subscribe = subscribe;
    this.#splayMs = options.splayMs ?? 0;
    this.#reloadsOnSubscribe = options.toConfig === undefined;
    this.#context = context;
    // Deferred, so that the caller can dispose of the result of `follow()` before the first subscription.
    this.#retryTimer = setTimeout(() => void this.#run(), 0).unref();
  }

  /** The status, read now. */
  get status(): FollowStatus {
    return {
      connected: this.#connected,
      since: this.#since,
      items: this.#items,
      lastItem: this.#lastItem,
      reconnects: Math.max(this.#subscriptions - 1, 0),
      lastError: this.#lastError,
    };
  }

  /** Aborts the subscription. Does not wait for the source. */
  close(): void {
    this.#isOpen = false;
    this.#connected = false;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#splayTimer);
    this.#subscription?.abort();
  }

  async #run(): Promise<void> {
    this.#subscriptions++;
    const subscription = new AbortController();
    this.#subscription = subscription;
    const error = await this.#read(subscription.signal).catch((error) => ({ thrown: error }));
    // The source may hold connections and timers of its own.
    subscription.abort();
    if (!this.#isOpen) return;
    const retryMs = this.#backoff.nextPauseMs();
    this.#connected = false;
    this.#lastError = error ? messageOf(error.thrown) : "the stream has ended";
    this.#retryTimer = setTimeout(() => void this.#run(), retryMs).unref();
    this.#context.onDisconnect(error?.thrown, retryMs);
  }

  async #read(signal: AbortSignal): Promise<undefined> {
    const iterator = this.#subscribe(signal)[Symbol.asyncIterator]();
    const end = () => {
      // Not awaited, because a source that hangs would delay the close.
      void (async () => await iterator.return?.())().catch(() => {});
    };
    signal.addEventListener("abort", end, { once: true });
    const first = iterator.next();
    this.#connected = undefined;
    this.#since = new Date();
    // The source may have changed before the subscription.
    if (this.#reloadsOnSubscribe) this.#schedule();
    for (let next = await first; !next.done && this.#isOpen; next = await iterator.next()) {
      this.#onItem(next.value);
      // A source that always has a next item must not block the process.
      await nextTurn();
    }
  }

  #onItem(item: Item): void {
    this.#backoff.reset();
    this.#connected = true;
    this.#lastItem = new Date();
    this.#items++;
    this.#latest = { item };
    this.#schedule();
  }

  #schedule(): void {
    if (this.#splayTimer !== undefined) return;
    const isFirst = this.#subscriptions === 1 && this.#items <= 1;
    const ms = isFirst ? 0 : Math.random() * this.#splayMs;
    const fire = () => {
      this.#splayTimer = undefined;
      this.#context.onDue(this.#latest);
    };
    if (ms === 0) fire();
    else this.#splayTimer = setTimeout(fire, ms).unref();
  }
}
