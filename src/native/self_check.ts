import { connect } from "node:net";
import process from "node:process";
import { clearTimeout, setTimeout } from "node:timers";
import type { EpollEvent, Kernel } from "../kernel/kernel.ts";
import { findListener, type Listener, listenersOn, placeSocket } from "../kernel/listener.ts";
import { messageOf } from "../warnings.ts";
import { ConnectionCount } from "./connection_count.ts";
import { Marks } from "./marks.ts";
import { NativeResponse } from "./native_response.ts";
import type { HandoffTools } from "./public_socket.ts";

/** A plain HTTP server that answers every request with its name. */
interface PlainServer {
  readonly port: number;
  stop(): Promise<unknown>;
}

declare const Bun: {
  serve(options: object): { readonly port: number; stop(closeActiveConnections: boolean): Promise<void> };
};
declare const Deno: {
  readonly permissions: {
    querySync(permission: { readonly name: "net"; readonly host: string }): { readonly state: string };
  };
  serve(options: object, handler: () => Response): {
    readonly addr: { readonly port: number };
    readonly finished: Promise<void>;
  };
};

/** Far above the few milliseconds that the check takes. */
const TIMEOUT_MS = 5_000;

/**
 * Tries the whole mechanism once with two plain servers on the loopback interface: parks the socket of the first, hands
 * it over to the second, and makes a request in each state. Reads each registration back, and sees that connections get
 * the mark of their listener. Its outcome decides whether the handoff is used, not the name or version of a runtime.
 *
 * @param kernel The kernel; it learns the event loop of this thread.
 * @throws {Error} If anything is not as expected. Then nothing is left open.
 */
export async function checkHandoff(kernel: Kernel): Promise<HandoffTools> {
  const opened = new Set<number>();
  const servers: PlainServer[] = [];
  try {
    const first = startPlain("first");
    servers.push(first);
    const [descriptor = -1, ...others] = listenersOn(kernel, first.port);
    if (descriptor < 0 || others.length > 0) throw new Error("the listener of a server cannot be found");
    kernel.learnEventLoop(descriptor);
    const dummy = kernel.openDummy();
    opened.add(dummy);
    const marks = new Marks(dummy);
    const tools = { kernel, marks, dummy, publicCookies: new Set<bigint>() };
    await handOverOnce(tools, first, servers, opened);
    opened.delete(dummy);
    return tools;
  } finally {
    for (const descriptor of opened) kernel.close(descriptor);
    await Promise.all(servers.map((server) => server.stop()));
  }
}

async function handOverOnce(
  { kernel, marks, dummy }: HandoffTools,
  first: PlainServer,
  servers: PlainServer[],
  opened: Set<number>,
): Promise<void> {
  const none: ReadonlySet<bigint> = new Set();
  const from = findListener(kernel, first.port, -1, none);
  expectAnswer(await ask(first.port), "first");

  const socket = kernel.duplicate(from.descriptor);
  opened.add(socket);
  place(kernel, from, { socket: dummy, expected: from.cookie, otherwise: socket });
  const mark = marks.take();
  kernel.setMark(socket, mark);
  const waiting = ask(first.port, (port) => {
    if (hasMarkedConnection(kernel, mark, port)) return;
    throw new Error("connections do not inherit the mark of their listener");
  });
  waiting.catch(() => {}); // it is waited for below, unless something fails before
  const second = startPlain("second");
  servers.push(second);
  const to = findListener(kernel, second.port, -1, none);
  expectAnswer(await ask(second.port), "second");

  place(kernel, to, { socket, expected: to.cookie, otherwise: dummy });
  if (kernel.cookie(to.descriptor) !== from.cookie) throw new Error("the socket was not handed over");
  kernel.close(socket);
  opened.delete(socket);
  expectAnswer(await waiting, "second");
  expectAnswer(await ask(first.port), "second");
  marks.release(mark);
}

function place(kernel: Kernel, listener: Listener, sockets: Parameters<typeof placeSocket>[2]): void {
  placeSocket(kernel, listener, sockets);
  const [[registered] = []] = kernel.registrations([listener.descriptor]);
  if (isEqual(registered, listener.event)) return;
  kernel.unregister(listener.descriptor);
  throw new Error("a registration reads back differently");
}

function isEqual(left: EpollEvent | undefined, right: EpollEvent): boolean {
  return left !== undefined && left.events === right.events && left.data === right.data;
}

/** Whether the process has a connection to a port that carries a mark. */
function hasMarkedConnection(kernel: Kernel, mark: number, port: number): boolean {
  const count = new ConnectionCount(kernel, { ports: new Set([port]), marks: new Set([mark]) });
  count.advance(Infinity);
  return count.byMark.has(mark);
}

function startPlain(name: string): PlainServer {
  const options = { hostname: "127.0.0.1", port: 0 };
  if (process.versions["bun"]) {
    const server = Bun.serve({ ...options, id: null, development: false, fetch: () => new NativeResponse(name) });
    return { port: server.port, stop: () => server.stop(true) };
  }
  const { state } = Deno.permissions.querySync({ name: "net", host: "127.0.0.1" });
  if (state !== "granted") throw new Error("no permission --allow-net=127.0.0.1");
  const abort = new AbortController();
  const { signal } = abort;
  const server = Deno.serve({ ...options, signal, onListen() {} }, () => new NativeResponse(name));
  return {
    port: server.addr.port,
    stop() {
      abort.abort();
      return server.finished.catch(() => {});
    },
  };
}

/** Makes a request on a connection of its own, and lets its server side be seen when the answer has begun. */
function ask(port: number, see?: (port: number) => void): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const client = connect({ host: "127.0.0.1", port });
    const timer = setTimeout(() => client.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)), TIMEOUT_MS);
    client.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.setEncoding("latin1").on("data", (part) => {
      text += part;
      if (!/\r\n\r\n(?:first|second)/.test(text)) return;
      try {
        see?.(port);
        resolve(text.slice(text.indexOf("\r\n\r\n") + 4));
      } catch (error) {
        reject(error);
      }
      client.destroy();
    });
    client.on("error", reject).once("close", () => {
      clearTimeout(timer);
      reject(new Error("a request was not answered"));
    });
  });
}

function expectAnswer(answer: string, expected: string): void {
  if (answer !== expected) throw new Error(`a request was answered by the wrong server: ${messageOf(answer)}`);
}
