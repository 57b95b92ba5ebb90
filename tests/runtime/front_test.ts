import { assert, assertEquals, assertRejects } from "@std/assert";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import test from "node:test";
import { TlsConfig, TlsState } from "../../mod.ts";
import { type Backend, carry, Front, type FrontOptions, type Peer, peerOf } from "../../src/runtime/front.ts";
import { issueServer } from "../support/certificates.ts";

const LOOPBACK = { hostname: "127.0.0.1", port: 0 };
const MIB = 1 << 20;

async function newConfig(): Promise<TlsConfig> {
  return new TlsConfig(await issueServer("front"));
}

/** A backend that says which generation it is, and then what it is told. */
function echo(generation: number, closed: number[] = []): Backend {
  return {
    serve(client) {
      client.write(`${generation}\n`);
      client.pipe(client);
    },
    close: () => void closed.push(generation),
  };
}

interface Client {
  readonly socket: Socket;
  /** Resolves when nothing more comes. */
  readonly ended: Promise<unknown>;
  /** Asserts what comes next. */
  hears(expected: string): Promise<void>;
  /** Closes the connection. */
  close(): Promise<void>;
}

async function connected(port: number): Promise<Client> {
  const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
  let text = "";
  socket.on("error", () => {}).on("data", (chunk) => text += chunk);
  const ended = new Promise((resolve) => socket.once("end", resolve).once("close", resolve));
  await once(socket, "connect");
  return {
    socket,
    ended,
    async hears(expected) {
      while (text.length < expected.length) await once(socket, "data");
      assertEquals(text.slice(0, expected.length), expected);
      text = text.slice(expected.length);
    },
    async close() {
      socket.destroy();
      if (!socket.closed) await once(socket, "close");
    },
  };
}

/** Resolves when a condition holds that events of other sockets bring about. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

test("Front gives a connection to the newest generation, where it stays", async () => {
  const state = new TlsState(await newConfig());
  const closed: number[] = [];
  const front = await Front.open(state, LOOPBACK, ({ generation }) => echo(generation, closed));
  const first = await connected(front.address.port);
  await first.hears("0\n");
  state.swap(await newConfig());
  const second = await connected(front.address.port);
  await second.hears("1\n");
  first.socket.write("still here");
  await first.hears("still here");
  assertEquals(front.generations, [{ generation: 0, connections: 1 }, { generation: 1, connections: 1 }]);
  assertEquals(closed, []);
  await first.close();
  await until(() => closed.length > 0);
  assertEquals(closed, [0]);
  assertEquals(front.generations.map(({ generation }) => generation), [1]);
  front.close();
  await second.close();
  await front.finished;
  assertEquals(closed, [0, 1]);
});

test("Front holds a connection accepted after a swap until the generation has started", async () => {
  const state = new TlsState(await newConfig());
  const starting = Promise.withResolvers<void>();
  const front = await Front.open(state, LOOPBACK, async ({ generation }) => {
    if (generation === 1) await starting.promise;
    return echo(generation);
  });
  state.swap(await newConfig());
  const client = await connected(front.address.port);
  client.socket.write("early");
  // A round trip of another connection: time enough for this one to be answered, were it not held.
  const other = createServer((socket) => void socket.end("answer")).listen(0, "127.0.0.1");
  await once(other, "listening");
  const probe = await connected((other.address() as { port: number }).port);
  await probe.hears("answer");
  assertEquals(client.socket.bytesRead, 0);
  starting.resolve();
  await client.hears("1\n");
  await client.hears("early");
  await probe.close();
  other.close();
  await client.close();
  front.destroy();
  await front.finished;
});

test("Front goes on with the last good generation when one does not start", async () => {
  const state = new TlsState(await newConfig());
  const errors: unknown[] = [];
  const failure = new Error("cannot start");
  const front = await Front.open(
    state,
    LOOPBACK,
    ({ generation }) => generation === 1 ? Promise.reject(failure) : echo(generation),
    { onTlsError: (error) => errors.push(error) },
  );
  for (const expected of ["0\n", "0\n", "2\n"]) {
    const client = await connected(front.address.port);
    await client.hears(expected);
    await client.close();
    state.swap(await newConfig());
  }
  assertEquals(errors, [failure]);
  front.destroy();
  await front.finished;
});

test("Front ends with the newest of several swaps and starts none that is out of date", async () => {
  const state = new TlsState(await newConfig());
  const started: number[] = [];
  const closed: number[] = [];
  const front = await Front.open(state, LOOPBACK, async ({ generation }) => {
    await new Promise(setImmediate);
    started.push(generation);
    return echo(generation, closed);
  });
  const config = await newConfig();
  for (let swap = 0; swap < 100; swap++) state.swap(config);
  const client = await connected(front.address.port);
  await client.hears("100\n");
  assertEquals(started, [0, 1, 100]);
  assertEquals(closed, [0, 1]);
  await client.close();
  front.destroy();
  await front.finished;
});

test("Front tells the generation that serves, at once, that the state holds a newer one", async () => {
  const state = new TlsState(await newConfig());
  const guarded: number[] = [];
  const front = await Front.open(
    state,
    LOOPBACK,
    ({ generation }) => ({ ...echo(generation), guard: () => void guarded.push(generation) }),
  );
  assertEquals(guarded, []);
  state.swap(await newConfig());
  assertEquals(guarded, [0]);
  front.destroy();
  await front.finished;
});

test("Front cuts the connections of a replaced generation after drainTimeoutMs, and no others", async () => {
  const state = new TlsState(await newConfig());
  const options: FrontOptions = { drainTimeoutMs: 1 };
  const front = await Front.open(state, LOOPBACK, ({ generation }) => echo(generation), options);
  const first = await connected(front.address.port);
  await first.hears("0\n");
  state.swap(await newConfig());
  const second = await connected(front.address.port);
  await second.hears("1\n");
  await first.ended;
  second.socket.write("on");
  await second.hears("on");
  await second.close();
  front.destroy();
  await front.finished;
});

test("Front.open() rejects when the port is taken, and closes what it started", async () => {
  const state = new TlsState(await newConfig());
  const closed: number[] = [];
  const start = ({ generation }: { generation: number }) => echo(generation, closed);
  const front = await Front.open(state, LOOPBACK, start);
  const error = await assertRejects(
    () => Front.open(state, { hostname: "127.0.0.1", port: front.address.port }, start),
    Error,
  );
  assertEquals((error as NodeJS.ErrnoException).code, "EADDRINUSE");
  assertEquals(closed, [0]);
  state.swap(await newConfig());
  front.destroy();
  await front.finished;
});

test("Front.open() rejects when the first generation does not start", async () => {
  const state = new TlsState(await newConfig());
  await assertRejects(() => Front.open(state, LOOPBACK, () => Promise.reject(new Error("bad"))), Error, "bad");
});

interface Carried {
  readonly inner: Server;
  readonly port: number;
  readonly peers: Map<number, Peer>;
  close(): Promise<void>;
}

/** A front that carries to a server on the loopback interface. */
async function carrying(serve: (socket: Socket) => void): Promise<Carried> {
  const inner = createServer({ allowHalfOpen: true }, (socket) => serve(socket.on("error", () => {})));
  inner.listen(0, "127.0.0.1");
  await once(inner, "listening");
  const innerPort = (inner.address() as { port: number }).port;
  const peers = new Map<number, Peer>();
  const front = await Front.open(new TlsState(await newConfig()), LOOPBACK, () => ({
    serve: (client) => carry(client, peerOf(client), innerPort, peers),
  }));
  return {
    inner,
    port: front.address.port,
    peers,
    close: async () => {
      front.destroy();
      inner.close();
      await front.finished;
    },
  };
}

test("carry() passes on both directions and the end of each by itself", async () => {
  let received = "";
  const { port, close } = await carrying((socket) => {
    socket.on("data", (chunk) => received += chunk);
    socket.on("end", () => socket.end(`you said ${received}`));
  });
  const client = await connected(port);
  client.socket.end("hello");
  await client.hears("you said hello");
  await client.ended;
  await close();
});

test("carry() passes on that the server ended first", async () => {
  const { port, close } = await carrying((socket) => void socket.end("bye"));
  const client = await connected(port);
  await client.hears("bye");
  await client.ended;
  await client.close();
  await close();
});

test("carry() breaks the connection to the server when the client breaks its own", async () => {
  const broken = Promise.withResolvers<NodeJS.ErrnoException>();
  const received = Promise.withResolvers<void>();
  const { port, close } = await carrying((socket) => {
    socket.on("data", () => received.resolve()).on("error", broken.resolve);
  });
  const client = await connected(port);
  client.socket.write("x");
  await received.promise;
  client.socket.resetAndDestroy();
  assertEquals((await broken.promise).code, "ECONNRESET");
  await close();
});

test("carry() breaks the client when the server breaks", async () => {
  const { port, close } = await carrying((socket) => void socket.once("data", () => socket.resetAndDestroy()));
  const client = await connected(port);
  client.socket.write("x");
  await client.ended;
  await close();
});

test("carry() knows the client by the port of the inner connection, as long as that lasts", async () => {
  const accepted = Promise.withResolvers<Socket>();
  const { port, peers, close } = await carrying((socket) => {
    socket.on("data", () => accepted.resolve(socket)).on("end", () => socket.end());
  });
  const client = await connected(port);
  client.socket.write("x");
  const far = await accepted.promise;
  const { localPort } = client.socket;
  assertEquals(peers.get(far.remotePort!), { address: "127.0.0.1", port: localPort!, family: "IPv4" });
  await client.close();
  await until(() => peers.size === 0);
  await close();
});

test("carry() takes from the server no more than a slow client reads", async () => {
  let written = 0;
  const chunk = new Uint8Array(MIB);
  const stalled = Promise.withResolvers<void>();
  const { port, close } = await carrying((socket) => {
    const write = () => {
      while (written++ < 64) {
        if (socket.write(chunk)) continue;
        stalled.resolve();
        return void socket.once("drain", write);
      }
      socket.end();
    };
    write();
  });
  const client = await connected(port);
  client.socket.pause();
  await stalled.promise;
  // What the system's own buffers take is far less than the whole.
  assert(written < 64, `${written} MiB were taken`);
  let received = 0;
  client.socket.on("data", ({ length }) => received += length).resume();
  await client.ended;
  assertEquals(received, 64 * MIB);
  await client.close();
  await close();
});
