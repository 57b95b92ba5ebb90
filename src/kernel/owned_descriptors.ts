import { type Kernel, KernelError } from "./kernel.ts";
import { listenersOn } from "./listener.ts";

/** A listener of the runtime, which ends with its thread. */
interface ThreadListener {
  /** Its port on 127.0.0.1. */
  readonly port: number;
  /** Closes its descriptor at once. */
  close(): void;
}

declare const Bun: {
  listen(options: object): { readonly port: number; stop(closeActiveConnections: boolean): void; unref(): void };
};
declare const Deno: {
  listen(options: object): { readonly addr: { readonly port: number }; close(): void };
};

const LOOPBACK = { hostname: "127.0.0.1", port: 0 };

/**
 * Descriptors that the runtime closes when the thread ends: nothing else would when a worker is terminated.
 *
 * Invariant: each one is the descriptor of a listener that the runtime has opened, and holds another file from then on.
 */
export class OwnedDescriptors {
  readonly #kernel: Kernel;
  readonly #owners = new Map<number, ThreadListener>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** A second descriptor of a file. */
  duplicate(descriptor: number): number {
    const kernel = this.#kernel;
    const near = kernel.lowestFree();
    if (near < 0) throw new KernelError("duplicate", "no descriptor is free");
    const owner = openThreadListener();
    // Another thread may have taken the lowest number meanwhile.
    const duplicate = listenersOn(kernel, owner.port, near, near + 1)[0] ?? listenersOn(kernel, owner.port)[0];
    try {
      if (duplicate === undefined) throw new KernelError("duplicate", "the descriptor of a listener cannot be found");
      kernel.replace(duplicate, descriptor);
    } catch (error) {
      owner.close();
      throw error;
    }
    this.#owners.set(duplicate, owner);
    return duplicate;
  }

  /** Closes a descriptor that was duplicated here. Returns whether it was. */
  close(descriptor: number): boolean {
    const owner = this.#owners.get(descriptor);
    owner?.close();
    return this.#owners.delete(descriptor);
  }
}

/** Opens a listener that accepts nothing and keeps no process running. Throws the error of the system. */
function openThreadListener(): ThreadListener {
  if (typeof Bun === "undefined") {
    const listener = Deno.listen(LOOPBACK);
    return { port: listener.addr.port, close: () => listener.close() };
  }
  const listener = Bun.listen({ ...LOOPBACK, socket: { data() {} } });
  listener.unref();
  return { port: listener.port, close: () => listener.stop(true) };
}
