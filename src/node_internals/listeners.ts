/**
 * The private listener and handle by which a server accepts connections, and methods of one server that are replaced.
 * Verified on Node 22.23 and 24.21, Deno 2.9.6 and Bun 1.4.5. If a runtime changes the listener,
 * `tests/node_internals_test.ts` fails and names it.
 */
import type { Server as NetServer } from "node:net";
import type { Duplex } from "node:stream";
import { clearInterval, setInterval } from "node:timers";
import type { Server } from "node:tls";

/** The name of the function by which a `tls.Server` of Node and Deno accepts connections. */
const ACCEPTING_LISTENER = "tlsConnectionListener";

/** Whether a server accepts connections by a listener that can be replaced. Servers of Bun do not. */
export function acceptsByListener(server: Server): boolean {
  return acceptingListenerOf(server) !== undefined;
}

/**
 * Replaces the listener by which a server accepts connections. Keeps the listeners of the user, and their order.
 *
 * @returns Restores the listener of the runtime when disposed of.
 */
export function replaceAcceptingListener(server: Server, accept: (socket: Duplex) => void): Disposable {
  const runtimeListener = acceptingListenerOf(server);
  replaceListener(server, runtimeListener, accept);
  return { [Symbol.dispose]: () => replaceListener(server, accept, runtimeListener) };
}

function acceptingListenerOf(server: Server): unknown {
  return server.rawListeners("connection").find(({ name }) => name === ACCEPTING_LISTENER);
}

function replaceListener(server: Server, previous: unknown, next: unknown): void {
  type Listener = (...args: unknown[]) => void;
  const listeners = server.rawListeners("connection") as Listener[];
  const index = listeners.indexOf(previous as Listener);
  if (index < 0) return;
  const later = listeners.slice(index + 1);
  for (const listener of [previous as Listener, ...later]) server.removeListener("connection", listener);
  for (const listener of [next as Listener, ...later]) server.on("connection", listener);
}

/**
 * Replaces a method of one server.
 *
 * @returns Restores the method when disposed of, unless other code has replaced it since.
 */
export function replaceMethod<Name extends keyof Server>(server: Server, name: Name, method: Server[Name]): Disposable {
  const previous = Object.getOwnPropertyDescriptor(server, name);
  Object.defineProperty(server, name, { value: method, configurable: true, enumerable: false, writable: true });
  return {
    [Symbol.dispose]: () => {
      if (server[name] !== method) return;
      if (previous) Object.defineProperty(server, name, previous);
      else delete server[name];
    },
  };
}

const RESUME_EVERY_MS = 1_000;

/**
 * Keeps a server accepting after file descriptors ran out, as Node and Bun do by themselves.
 *
 * Deno stops accepting after EMFILE; listening again on the same handle resumes it, and keeps the connections that wait
 * in the queue. There is no public way: `server.listen()` throws `ERR_SERVER_ALREADY_LISTEN`.
 *
 * Private property: `_handle.listen(backlog)` of `net.Server`. Seen on Deno 2.7.14 to 2.9.6.
 *
 * @param backlog The length of the queue from the first time on.
 * @returns Leaves the server alone when disposed of.
 */
export function keepAccepting(server: NetServer, backlog: number): Disposable {
  let timer: ReturnType<typeof setInterval> | undefined;
  const stop = () => clearInterval(timer);
  const start = () => {
    stop();
    timer = setInterval(() => listenAgain(server, backlog), RESUME_EVERY_MS).unref();
  };
  if (server.listening) start();
  server.on("listening", start).on("close", stop);
  return {
    [Symbol.dispose]() {
      stop();
      server.off("listening", start).off("close", stop);
    },
  };
}

function listenAgain(server: NetServer, backlog: number): void {
  const { _handle: handle } = server as NetServer & { _handle?: { listen?(backlog: number): unknown } | null };
  handle?.listen?.(backlog);
}
