// Those who misbehave. Nothing is asked of them; whoever behaves must not notice.
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { connect } from "node:tls";
import { clientHello } from "../support/peers.ts";
import type { Random } from "./random.ts";
import type { SoakRun } from "./soak_run.ts";

const STALL_MS = 8_000;

const hello = await clientHello({ servername: "localhost" });
const part = (random: Random) => hello.subarray(0, random.between(0, hello.length));

async function dial(port: number): Promise<Socket> {
  const socket = connectTcp({ host: "127.0.0.1", port, allowHalfOpen: true });
  socket.on("error", () => {});
  socket.resume();
  await Promise.race([once(socket, "connect"), once(socket, "close")].map((event) => event.catch(() => {})));
  return socket;
}

/** Waits for the server to close, and no longer than that. */
async function closedBy(socket: Socket, ms = STALL_MS): Promise<void> {
  const late = new AbortController();
  const { signal } = late;
  await Promise.race(
    [once(socket, "close", { signal }), delay(ms, undefined, { signal })].map((event) => event.catch(() => {})),
  );
  late.abort();
  socket.destroy();
}

async function send(port: number, bytes: Buffer, isEnd = true): Promise<void> {
  const socket = await dial(port);
  socket.once("end", () => socket.end());
  if (isEnd) socket.end(bytes);
  else socket.write(bytes);
  await closedBy(socket);
}

/** A TLS client without certificate that asks for much, and what becomes of it. */
async function ask(port: number, whatThen: (socket: Socket) => void): Promise<void> {
  const socket = await dial(port);
  const client = connect({ socket, rejectUnauthorized: false });
  client.on("error", () => {});
  await Promise.race([once(client, "secureConnect"), once(client, "close")].map((event) => event.catch(() => {})));
  client.write("GET /content?seed=x&length=9000000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
  whatThen(socket);
  await closedBy(socket);
}

const ATTACKS: Readonly<Record<string, (port: number, random: Random) => Promise<unknown>>> = {
  "garbage": (port, random) => send(port, random.bytes(random.between(1, 4_000)), random.chance(0.5)),
  "plaintext HTTP": (port) => send(port, Buffer.from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), false),
  "garbage after the hello": (port, random) =>
    send(port, Buffer.concat([hello, random.bytes(500)]), random.chance(0.5)),
  "end in the handshake": (port, random) => send(port, part(random)),
  "stall in the handshake": (port, random) => send(port, part(random), false),
  "reset in the handshake": async (port, random) => {
    const socket = await dial(port);
    const bytes = part(random);
    if (bytes.length > 0) await new Promise((resolve) => socket.write(bytes, resolve));
    socket.resetAndDestroy();
  },
  "slow hello": async (port) => {
    const socket = await dial(port);
    for (const byte of hello.subarray(0, 100)) {
      socket.write(Buffer.of(byte));
      await delay(20);
    }
    socket.destroy();
  },
  "reset during an answer": (port, random) =>
    ask(port, (socket) => void setTimeout(() => socket.resetAndDestroy(), random.between(0, 50))),
  "half-close during an answer": (port) => ask(port, (socket) => socket.end()),
  "reader that stops": (port, random) =>
    ask(port, (socket) => {
      socket.pause();
      setTimeout(() => socket.resetAndDestroy(), random.between(500, 5_000));
    }),
  "killed client": async (port, random) => {
    const url = `https://127.0.0.1:${port}/content?seed=x&length=9000000`;
    // Node keeps a connection of HTTP/2 whose client is reset during an answer, whatever serves TLS.
    const args = ["-sk", "--http1.1", "--max-time", "10", "--limit-rate", "1M", "-o", "/dev/null", url];
    const curl = spawn("curl", args);
    const closed = once(curl, "close");
    await Promise.race([closed, delay(random.between(20, 500))]);
    curl.kill("SIGKILL");
    await closed;
  },
  "flood": (port, random) =>
    Promise.all(Array.from({ length: random.between(10, 40) }, async () => {
      const socket = await dial(port);
      socket.write(part(random));
      setTimeout(() => socket.resetAndDestroy(), random.between(0, 300));
      await closedBy(socket);
    })),
};

/** One attack on some server. */
export async function attack(run: SoakRun, random: Random): Promise<void> {
  const [name, misbehave] = random.pick(Object.entries(ATTACKS));
  await misbehave(random.pick(run.targets).port, random);
  run.count(`peer ${name}`);
}
