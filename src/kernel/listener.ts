import { type EpollEvent, FIRST_DESCRIPTOR, type Kernel, KernelError } from "./kernel.ts";

/** The listening descriptor of a native server, as it was when the server had started. */
export interface Listener {
  /** The descriptor, which the server keeps for its life. */
  readonly descriptor: number;
  /** The identifier of its socket. */
  readonly cookie: bigint;
  /** How the runtime registered it. */
  readonly event: EpollEvent;
}

/** The descriptor no longer holds the listener: the server has ended, and the number may have been reused. */
export class ListenerGoneError extends KernelError {
  constructor() {
    super("replace a listener", "the server has ended");
  }
}

/** A failed replacement could not be undone: the descriptor is not registered, and its server no longer accepts. */
export class ListenerBrokenError extends KernelError {
  constructor(cause: unknown) {
    super("replace a listener", "the previous socket cannot be put back either");
    this.cause = cause;
  }
}

/** A runtime opens a few descriptors beside the listening one, and other threads do. */
const NEARBY = 64;

/** The descriptors of listeners on a port. */
export function listenersOn(kernel: Kernel, port: number, from = FIRST_DESCRIPTOR, to = kernel.tableSize()): number[] {
  const found: number[] = [];
  for (let descriptor = from; descriptor < to; descriptor++) {
    if (kernel.isListening(descriptor) && kernel.port(descriptor) === port) found.push(descriptor);
  }
  return found;
}

/**
 * Finds the listening descriptor of a server that has just started, in the same turn of the event loop.
 *
 * Other threads may listen on the same port (`reusePort`), so the descriptor must be registered in the event loop of
 * this thread.
 *
 * @param port The port that the server reports.
 * @param near The lowest descriptor that was free before the server started, or -1.
 * @param known Cookies of listeners that are not the one.
 * @throws {KernelError} Unless there is exactly one such descriptor, with exactly one registration.
 */
export function findListener(kernel: Kernel, port: number, near: number, known: ReadonlySet<bigint>): Listener {
  const registered = (from?: number, to?: number) => {
    const descriptors = listenersOn(kernel, port, from, to).filter((each) => !known.has(kernel.cookie(each)));
    if (descriptors.length === 0) return [];
    const events = kernel.registrations(descriptors);
    return descriptors.map((descriptor, at) => ({ descriptor, events: events[at]! }))
      .filter(({ events }) => events.length > 0);
  };
  let found = near < 0 ? [] : registered(near, near + NEARBY);
  if (found.length !== 1) found = registered();
  const [first] = found;
  const [event, ...others] = first?.events ?? [];
  if (first && found.length === 1 && event && others.length === 0) {
    return { descriptor: first.descriptor, cookie: kernel.cookie(first.descriptor), event };
  }
  const reason = `${found.length} descriptors listen on its port, ${first?.events.length ?? 0} registrations`;
  throw new KernelError("find the listener of a server", reason);
}

/**
 * Puts a socket under the listening descriptor of a server, registered as the runtime registered the previous one. The
 * server accepts from that socket, or accepts nothing if it is the dummy.
 *
 * @param sockets What to put there, the cookie of what must be there now, and what to put there if it fails.
 * @throws {ListenerGoneError} If the descriptor does not hold what it should; nothing has changed.
 * @throws {KernelError} If a call fails. Then `otherwise` is there and registered.
 * @throws {ListenerBrokenError} If that fails too.
 */
export function placeSocket(
  kernel: Kernel,
  { descriptor, event }: Pick<Listener, "descriptor" | "event">,
  { socket, expected, otherwise }: { readonly socket: number; readonly expected: bigint; readonly otherwise: number },
): void {
  // The server may have ended, and a file or a connection may have got the number.
  if (!kernel.isListening(descriptor) || kernel.cookie(descriptor) !== expected) throw new ListenerGoneError();
  kernel.unregister(descriptor);
  try {
    kernel.replace(descriptor, socket);
    kernel.register(descriptor, event);
  } catch (error) {
    try {
      kernel.replace(descriptor, otherwise);
      kernel.register(descriptor, event);
    } catch {
      throw new ListenerBrokenError(error);
    }
    throw error;
  }
}
