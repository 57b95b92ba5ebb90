import { assertEquals, assertThrows } from "@std/assert";
import test from "node:test";
import { KernelError } from "../../src/kernel/kernel.ts";
import {
  findListener,
  ListenerBrokenError,
  ListenerGoneError,
  listenersOn,
  placeSocket,
} from "../../src/kernel/listener.ts";
import { FakeKernel } from "../support/fake_kernel.ts";

const NONE: ReadonlySet<bigint> = new Set();
const EVENT = { events: 0x2019, data: 1n };

function listening(kernel: FakeKernel, port: number, isRegistered = true): number {
  const descriptor = kernel.newSocket({ isListening: true });
  const socket = { ...kernel.table.get(descriptor)!, port };
  kernel.table.set(descriptor, socket);
  if (isRegistered) kernel.register(descriptor, EVENT);
  return descriptor;
}

test("findListener() finds the listener near the lowest free descriptor, and below it", () => {
  const kernel = new FakeKernel();
  const descriptor = listening(kernel, 443);
  const found = { descriptor, cookie: kernel.cookie(descriptor), event: EVENT };
  for (const near of [descriptor, descriptor + 1, 200, -1]) assertEquals(findListener(kernel, 443, near, NONE), found);
});

test("findListener() passes over other ports, connections, known listeners, and those of other threads", () => {
  const kernel = new FakeKernel();
  listening(kernel, 444);
  kernel.register(kernel.newSocket({ port: 443 }), EVENT);
  const known = listening(kernel, 443);
  listening(kernel, 443, false);
  const descriptor = listening(kernel, 443);
  const found = findListener(kernel, 443, 3, new Set([kernel.cookie(known)]));
  assertEquals(found.descriptor, descriptor);
  assertEquals(listenersOn(kernel, 443).length, 3);
});

test("findListener() refuses a listener that is missing, not registered, doubled, or registered twice", () => {
  const refused = (prepare: (kernel: FakeKernel) => void) => {
    const kernel = new FakeKernel();
    prepare(kernel);
    assertThrows(() => findListener(kernel, 443, 3, NONE), KernelError, "Cannot find the listener");
  };
  refused(() => {});
  refused((kernel) => void listening(kernel, 443, false));
  refused((kernel) => void [listening(kernel, 443), listening(kernel, 443)]);
  refused((kernel) => {
    const descriptor = listening(kernel, 443);
    kernel.epoll.push({ descriptor, socket: kernel.table.get(3)!, event: { events: 1, data: 2n } });
  });
});

test("placeSocket() changes nothing where the descriptor belongs to something else now", () => {
  const kernel = new FakeKernel();
  const [descriptor, socket] = [listening(kernel, 443), listening(kernel, 444, false)];
  const place = (expected: bigint) =>
    placeSocket(kernel, { descriptor, event: EVENT }, { socket, expected, otherwise: socket });
  assertThrows(() => place(99n), ListenerGoneError);
  assertEquals(kernel.port(descriptor), 443);
  place(kernel.cookie(descriptor));
  assertEquals([kernel.port(descriptor), kernel.registrations([descriptor])], [444, [[EVENT]]]);
  kernel.close(descriptor);
  const connection = kernel.newSocket({ port: 1 });
  assertEquals(connection, descriptor);
  assertThrows(() => place(kernel.cookie(descriptor)), ListenerGoneError);
});

test("placeSocket() says when a failure could not be taken back", () => {
  const kernel = new FakeKernel();
  const [descriptor, socket, otherwise] = [
    listening(kernel, 443),
    listening(kernel, 1, false),
    listening(kernel, 2, false),
  ];
  const listener = { descriptor, event: EVENT };
  const failing = new Set(["register"]);
  kernel.before = (operation) => {
    if (failing.delete(operation)) throw new KernelError(operation);
  };
  const expected = kernel.cookie(descriptor);
  assertThrows(() => placeSocket(kernel, listener, { socket, expected, otherwise }), KernelError, "register");
  assertEquals([kernel.port(descriptor), kernel.registrations([descriptor])], [2, [[EVENT]]]);
  kernel.before = (operation) => {
    if (operation === "register") throw new KernelError(operation);
  };
  const now = kernel.cookie(descriptor);
  assertThrows(() => placeSocket(kernel, listener, { socket, expected: now, otherwise }), ListenerBrokenError);
});
