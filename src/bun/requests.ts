import { peerAt } from "../native/peers.ts";
import type { BunGeneration } from "./native_server.ts";
import type { BunNativeServer, BunSocketAddress } from "./types.ts";

/**
 * The requests of all generations, each with the native server that received it.
 *
 * Behind a front a map holds the owner of each request, because the address of an inner connection means something to
 * its own server only. With the handoff the map stays empty: every native server knows the address of every request,
 * and only the owner can upgrade it.
 */
export class Requests {
  readonly #servers: () => readonly BunGeneration[];
  readonly #owners = new WeakMap<Request, BunGeneration>();
  /** Bun calls the handlers within the call of `fetch()`, with another request than it was given. */
  #isFetching = false;
  #upgradingAddress: string | undefined;

  constructor(servers: () => readonly BunGeneration[]) {
    this.#servers = servers;
  }

  /** The address of the client whose WebSocket is being opened: Bun calls `open` before `upgrade()` returns. */
  get upgradingAddress(): string | undefined {
    return this.#upgradingAddress;
  }

  /** Whether a request behind a front may reach the handlers. */
  admit(request: Request, generation: BunGeneration): boolean {
    if (generation.isRefusingDirectConnections && !this.#isFetching) {
      const from = generation.native.requestIP(request);
      if (!from || !peerAt(generation.peers, from)) return false;
    }
    this.#owners.set(request, generation);
    return true;
  }

  async fetch(request: Request | string): Promise<Response> {
    let answer;
    this.#isFetching = true;
    try {
      answer = this.#newest.fetch(request);
    } finally {
      this.#isFetching = false;
    }
    return await answer;
  }

  addressOf(request: Request): BunSocketAddress | null {
    const owner = this.#owners.get(request);
    const from = (owner?.native ?? this.#newest).requestIP(request);
    const peer = owner && from && peerAt(owner.peers, from);
    return peer ? { ...peer } : from;
  }

  setTimeout(request: Request, seconds: number): void {
    (this.#owners.get(request)?.native ?? this.#newest).timeout(request, seconds);
  }

  upgrade(request: Request, options?: object): boolean {
    const owner = this.#owners.get(request);
    if (!owner) return this.#upgradeByAny(request, options);
    this.#upgradingAddress = this.addressOf(request)?.address;
    try {
      return owner.native.upgrade(request, options);
    } finally {
      this.#upgradingAddress = undefined;
    }
  }

  get #newest(): BunNativeServer {
    return this.#servers().at(-1)!.native;
  }

  /** Only the server that received a request can upgrade it; the others throw. */
  #upgradeByAny(request: Request, options?: object): boolean {
    for (const { native } of this.#servers().slice(0, -1)) {
      try {
        return native.upgrade(request, options);
      } catch {
        // The request belongs to another generation.
      }
    }
    return this.#newest.upgrade(request, options);
  }
}
