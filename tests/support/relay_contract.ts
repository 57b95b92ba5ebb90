import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import test from "node:test";
import { TlsConfig, TlsState } from "../../mod.ts";
import { Front } from "../../src/native/front.ts";
import type { Peers } from "../../src/native/peers.ts";
import { listenOn } from "../../src/native/public_listener.ts";
import { issuePair } from "./certificates.ts";
import { connected, until } from "./tcp.ts";

const MIB = 1 << 20;

/** Relays a client to a server on the loopback interface. */
export type RelayToPort = (client: Socket, port: number, peers: Peers) => void;

/** What must hold of every relay. */
export function testRelay(kind: string, relayToPort: RelayToPort): void {
  interface Relayed {
    readonly inner: Server;
    readonly port: number;
    readonly peers: Peers;
    connections(): number;
    close(): Promise<void>;
  }

  async function relaying(serve: (socket: Socket) => void): Promise<Relayed> {
    const inner = createServer({ allowHalfOpen: true }, (socket) => serve(socket.on("error", () => {})));
    inner.listen(0, "127.0.0.1");
    await once(inner, "listening");
    const innerPort = (inner.address() as { port: number }).port;
    const peers: Peers = new Map();
    const front = await Front.open(new TlsState(new TlsConfig(await issuePair("relay"))), {
      listen: listenOn({ hostname: "127.0.0.1", port: 0 }),
      start: () => ({ server: undefined, serve: (client) => relayToPort(client, innerPort, peers) }),
    });
    return {
      inner,
      port: front.address.port,
      peers,
      connections: () => front.generations.reduce((sum, { connections }) => sum + connections, 0),
      close: async () => {
        front.destroy();
        inner.close();
        await front.finished;
      },
    };
  }

  test(`${kind} relays both directions and the end of each one by itself`, async () => {
    let received = "";
    const { port, close } = await relaying((socket) => {
      socket.write("welcome");
      socket.on("data", (chunk) => received += chunk);
      socket.on("end", () => socket.end(`you said ${received}`));
    });
    const client = await connected(port);
    await client.hears("welcome");
    client.socket.end("hello");
    await client.hears("you said hello");
    await client.ended;
    await close();
  });

  test(`${kind} relays the end of a server that ends first`, async () => {
    const { port, close } = await relaying((socket) => void socket.end("bye"));
    const client = await connected(port);
    await client.hears("bye");
    await client.ended;
    await client.close();
    await close();
  });

  test(`${kind} resets the inner connection when the client resets its own`, async () => {
    const broken = Promise.withResolvers<NodeJS.ErrnoException>();
    const received = Promise.withResolvers<void>();
    const { port, close } = await relaying((socket) => {
      socket.on("data", () => received.resolve()).on("error", broken.resolve);
    });
    const client = await connected(port);
    client.socket.write("x");
    await received.promise;
    client.socket.resetAndDestroy();
    assertEquals((await broken.promise).code, "ECONNRESET");
    await close();
  });

  test(`${kind} resets the client when the server resets the inner connection`, async () => {
    const { port, close } = await relaying((socket) => void socket.once("data", () => socket.resetAndDestroy()));
    const client = await connected(port);
    client.socket.write("x");
    await client.ended;
    await close();
  });

  test(`${kind} maps the port of the inner connection to the client while that connection is open`, async () => {
    const accepted = Promise.withResolvers<Socket>();
    const { port, peers, connections, close } = await relaying((socket) => {
      socket.on("data", () => accepted.resolve(socket)).on("end", () => socket.end());
    });
    const client = await connected(port);
    client.socket.write("x");
    const far = await accepted.promise;
    const { localPort } = client.socket;
    assertEquals(peers.get(far.remotePort!), { address: "127.0.0.1", port: localPort!, family: "IPv4" });
    await client.close();
    await until(() => peers.size === 0 && connections() === 0);
    await close();
  });

  test(`${kind} reads no more from the server than a slow client takes`, async () => {
    const written: number[] = [];
    const chunk = new Uint8Array(MIB);
    const { port, close } = await relaying((socket) => {
      const each = written.push(0) - 1;
      const write = () => {
        while (written[each]!++ < 64) if (!socket.write(chunk)) return void socket.once("drain", write);
        socket.end();
      };
      write();
    });
    const client = await connected(port);
    client.socket.pause();
    // Another reads all of its own: time enough to take these too, were they not held back.
    const other = await connected(port);
    await other.ended;
    await other.close();
    // What the system's own buffers take is far less than the whole.
    const taken = Math.min(...written);
    assert(taken < 64, `${taken} MiB were taken`);
    let received = 0;
    client.socket.on("data", ({ length }) => received += length).resume();
    await client.ended;
    assertEquals(received, 64 * MIB);
    await client.close();
    await close();
  });

  test(`${kind} relays every byte both ways when one side reads slowly`, async () => {
    const { port, close } = await relaying((socket) => void socket.pipe(socket));
    const client = await connected(port);
    const sent = randomBytes(32 * MIB);
    const received: Uint8Array[] = [];
    client.socket.removeAllListeners("data").on("data", (chunk) => {
      received.push(chunk);
      client.socket.pause();
      setImmediate(() => client.socket.resume());
    });
    client.socket.end(sent);
    await client.ended;
    assert(sent.equals(Buffer.concat(received)));
    await client.close();
    await close();
  });

  test(
    `${kind} relays what the client sends after the server has ended, also to a slow server`,
    async () => {
      for (let size = 256 << 10; size <= 16 * MIB; size *= 2) {
        const received: Uint8Array[] = [];
        const ended = Promise.withResolvers<void>();
        const { port, close } = await relaying((socket) => {
          socket.end("bye");
          socket.on("data", (chunk) => {
            received.push(chunk);
            socket.pause();
            setImmediate(() => socket.resume());
          }).on("end", ended.resolve).on("close", ended.resolve);
        });
        const client = await connected(port);
        await client.ended;
        const sent = randomBytes(size);
        client.socket.end(sent);
        await ended.promise;
        assert(sent.equals(Buffer.concat(received)), `${size} bytes were sent`);
        await client.close();
        await close();
      }
    },
  );

  test(`${kind} closes the client when no server listens`, async () => {
    const { inner, port, connections, close } = await relaying(() => {});
    inner.close();
    await once(inner, "close");
    const client = await connected(port);
    await client.ended;
    await until(() => connections() === 0);
    await close();
  });
}
