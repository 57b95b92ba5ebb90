import { assert, assertEquals } from "@std/assert";
import { closeSync, openSync } from "node:fs";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { openLibc } from "../../src/kernel/libc.ts";
import { LinuxKernel } from "../../src/kernel/linux_kernel.ts";
import { listenersOn } from "../../src/kernel/listener.ts";

const result = openLibc();
const WITH_LIBC = { skip: "libc" in result ? false : "needs Bun or Deno on Linux" };

test(
  "prepareRegistrations() reads in another thread once for each size of the descriptor table",
  WITH_LIBC,
  async () => {
    assert("libc" in result);
    let reads = 0;
    const kernel = new LinuxKernel({
      ...result.libc,
      readAside(descriptor) {
        reads++;
        return result.libc.readAside(descriptor);
      },
    });
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const [descriptor = -1] = listenersOn(kernel, (server.address() as AddressInfo).port);
    kernel.learnEventLoop(descriptor);
    const registered = kernel.registrations([descriptor]);
    assertEquals(registered[0]!.length, 1);
    await kernel.prepareRegistrations();
    await kernel.prepareRegistrations();
    assertEquals(reads, 1);
    const size = kernel.tableSize();
    const taken = Array.from({ length: size }, () => openSync(fileURLToPath(import.meta.url), "r"));
    assert(kernel.tableSize() > size);
    await kernel.prepareRegistrations();
    assertEquals(reads, 2);
    assertEquals(kernel.registrations([descriptor]), registered);
    for (const each of taken) closeSync(each);
    server.close();
  },
);

test("duplicate() gives a descriptor of the runtime, and close() gives it back", WITH_LIBC, async () => {
  assert("libc" in result);
  const kernel = new LinuxKernel(result.libc);
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const [descriptor = -1] = listenersOn(kernel, (server.address() as AddressInfo).port);
  const free = kernel.lowestFree();
  const duplicate = kernel.duplicate(descriptor);
  assertEquals(kernel.cookie(duplicate), kernel.cookie(descriptor));
  kernel.close(duplicate);
  assertEquals([kernel.cookie(duplicate), kernel.lowestFree()], [0n, free]);
  server.close();
});
