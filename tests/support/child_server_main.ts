// A server, whose file descriptors can be used up: what child_server.ts starts. It reads the
// certificates and the commands `fill`, `swap` and `release` on standard input, and writes lines.
import { closeSync, openSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";
import { TlsConfig, TlsState } from "../../mod.ts";
import * as bun from "../../src/bun.ts";
import * as deno from "../../src/deno.ts";
import { Front } from "../../src/native/front.ts";
import { peerOf } from "../../src/native/peers.ts";
import { listenOn } from "../../src/native/public_listener.ts";
import { relayToPort } from "../../src/native/relay.ts";
import { attach } from "../../src/node.ts";
import type { ChildMechanism } from "./child_server.ts";

const LOOPBACK = { hostname: "127.0.0.1", port: 0 };
const mechanism = process.env["TLS_RELOAD_MECHANISM"] as ChildMechanism | undefined;
const KEPT_FREE = 10;
/** The longest that Bun takes. */
const LONGEST_IDLE_SECONDS = 255;

async function serve(state: TlsState, onTlsError: (error: unknown) => void): Promise<number> {
  if (mechanism === "acceptor") {
    const server = createHttpsServer((_, response) => response.end("answer"));
    server.keepAliveTimeout = LONGEST_IDLE_SECONDS * 1_000;
    attach(state, server, { mechanism, onTlsError });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return (server.address() as AddressInfo).port;
  }
  if (process.versions["bun"]) {
    const fetch = () => new Response("answer");
    return (await bun.serve(state, { ...LOOPBACK, mechanism, idleTimeout: LONGEST_IDLE_SECONDS, onTlsError, fetch }))
      .port;
  }
  if (process.versions["deno"]) {
    return (await deno.serve(state, { ...LOOPBACK, mechanism, onTlsError }, () => new Response("answer"))).addr.port;
  }
  const keepAliveTimeout = LONGEST_IDLE_SECONDS * 1_000;
  const inner = createServer({ keepAliveTimeout }, (_, response) => response.end("answer"));
  await new Promise<void>((resolve) => inner.listen(0, "127.0.0.1", resolve));
  const { port: innerPort } = inner.address() as AddressInfo;
  const front = await Front.open(state, {
    listen: listenOn(LOOPBACK),
    start: (acceptor) => ({
      server: undefined,
      serve(client) {
        const peer = peerOf(client);
        acceptor.accept(client).then((secure) => relayToPort(secure, peer, innerPort, new Map()), onTlsError);
      },
    }),
  }, { onTlsError });
  return front.address.port;
}

const lines = createInterface(process.stdin)[Symbol.asyncIterator]();
const nextLine = async () => (await lines.next()).value as string;
const configs = (JSON.parse(await nextLine()) as { cert: string; key: string }[]).map((init) => new TlsConfig(init));
const state = new TlsState(configs[0]!);
const port = await serve(state, (error) => console.log(`error ${(error as { code?: string }).code}`));
console.log(`port ${port}`);

// Deno dies if the first listener of a signal finds no descriptor.
process.on("SIGUSR2", () => {});

const taken: number[] = [];
const release = (count: number) => {
  for (const descriptor of taken.splice(0, count)) closeSync(descriptor);
};
const fill = () => {
  try {
    for (;;) taken.push(openSync("/dev/null", "r"));
  } catch {
    // None is left.
  }
};
let hasSwapped = false;
const swap = () => {
  hasSwapped = true;
  try {
    state.swap(configs[(state.generation + 1) % configs.length]!);
  } catch (error) {
    console.log(`error ${(error as { code?: string }).code}`);
  }
};
for (let command; (command = await nextLine());) {
  if (command === "fill") {
    fill();
    release(KEPT_FREE);
  } else if (command === "release") {
    release(taken.length);
    // A handoff refuses a swap for which it has too few descriptors.
    if (state.generation === 0 && hasSwapped) swap();
  } else if (command === "swap") {
    // However many of the crowd have been accepted by now, the new generation finds no descriptor.
    if (taken.length > 0 && process.versions["bun"]) fill();
    swap();
  }
  console.log(command);
}
process.exit();
