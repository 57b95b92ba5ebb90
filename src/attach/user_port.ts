import type { HandoffOptions } from "../native/handoff.ts";
import type { Generation, ListenAddress, ServingGenerations } from "../native/native_server.ts";
import { openHandoffWith, takeOver } from "../native/open_handoff.ts";
import type { ForwardingServer } from "./forwarding_server.ts";
import type { OwnServer } from "./own_server.ts";

/** A server of a generation, or that of the user with the connections from before it was attached. */
export type AnyGeneration = ForwardingServer | OwnServer;

/**
 * The port of a server, and the generations that serve it. It can be closed and opened again.
 *
 * Invariant: at most one port is open. The connections of the one that was closed last continue.
 */
export class UserPort {
  readonly #options: HandoffOptions<AnyGeneration>;
  #serving: ServingGenerations<AnyGeneration> | undefined;
  #closed: ServingGenerations<AnyGeneration> | undefined;
  #isRef = true;

  constructor(options: HandoffOptions<AnyGeneration>) {
    this.#options = options;
  }

  /** Whether it is served by generations. */
  get isOpen(): boolean {
    return this.#serving !== undefined;
  }

  /** How many connections each generation has. */
  get counts(): readonly Generation[] {
    return this.#serving?.generations ?? [];
  }

  /** The generations that have connections, or may get some. */
  get generations(): readonly AnyGeneration[] {
    return [...this.#closed?.servers ?? [], ...this.#serving?.servers ?? []];
  }

  /** Where it listens, in the form of `server.address()`. */
  get address(): { readonly address: string; readonly family: string; readonly port: number } | undefined {
    if (!this.#serving) return undefined;
    const { hostname: address, port } = this.#serving.address;
    return { address, family: address.includes(":") ? "IPv6" : "IPv4", port };
  }

  /** The number of the port, also of the one that was closed last. */
  get number(): number | undefined {
    return (this.#serving ?? this.#closed)?.address.port;
  }

  /** Listens. Rejects if the configuration cannot serve, or with the error of the system. */
  async open(address: ListenAddress): Promise<void> {
    this.#serve(await openHandoffWith(this.#options, address));
  }

  /** Takes the port of a server that listens. Rejects if it cannot; that server serves on. */
  async takeOver(own: OwnServer): Promise<void> {
    this.#serve(await takeOver(this.#options, own));
  }

  /** Stops listening and closes idle connections. Resolves when the last connection has ended. */
  close(): Promise<void> {
    const serving = this.#serving!;
    const { servers } = serving;
    this.#serving = undefined;
    this.#closed = serving;
    serving.close();
    for (const generation of servers) generation.stopGracefully();
    return serving.finished;
  }

  /** Whether it keeps the process running. */
  setRef(isRef: boolean): void {
    this.#isRef = isRef;
    if (isRef) this.#serving?.ref();
    else this.#serving?.unref();
  }

  #serve(serving: ServingGenerations<AnyGeneration>): void {
    this.#serving = serving;
    if (!this.#isRef) serving.unref();
  }
}
