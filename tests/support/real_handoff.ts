// Handoffs of real servers in this process, and what tests ask about them.
import { assert } from "@std/assert";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { type DrainOptions, TlsConfig, TlsState } from "../../mod.ts";
import { addFollower, sharedBy } from "../../src/accept/tls_state.ts";
import { handoffSupport } from "../../src/native/handoff_support.ts";
import { Handoff } from "../../src/native/handoff.ts";
import type { ServingOptions } from "../../src/native/serving_options.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import type { ListenAddress } from "../../src/native/native_server.ts";
import type { HandoffTools } from "../../src/native/public_socket.ts";
import { issuePair } from "./certificates.ts";
import { opened } from "./closing_tests.ts";
import { HttpConnection } from "./http.ts";
import type { DriverOptions, TestRuntime, TestServer } from "./native_runtimes.ts";

const configs = await Promise.all(
  ["first", "second", "third"].map(async (name) => new TlsConfig(await issuePair(name))),
);
const DEADLINE_MS = 10_000;

/** Where a test listens. */
export const LOOPBACK: ListenAddress = { hostname: "127.0.0.1", port: 0 };

/** The configuration of a generation. */
export const configOf = (generation: number): TlsConfig => configs[generation % configs.length]!;

/** A handoff of real servers, with what a test wants to see of it. */
export interface Opened extends AsyncDisposable {
  readonly state: TlsState;
  readonly runtime: TestRuntime;
  readonly handoff: Handoff<TestServer>;
  readonly kernel: Kernel;
  readonly errors: unknown[];
  readonly port: number;
  /** Swaps in the next configuration, and returns its fingerprint. */
  swap(): string;
  /** A new connection. */
  dial(): Promise<HttpConnection>;
}

/** What the handoffs of this process share. */
export async function tools(): Promise<HandoffTools> {
  const { tools, reason } = await handoffSupport();
  assert(tools, reason);
  return tools;
}

/** Where and how a handoff is opened. */
export interface OpenSetting {
  readonly address?: ListenAddress;
  readonly tools?: HandoffTools;
  readonly drain?: DrainOptions;
}

/** Opens a handoff, which is closed with the test. */
export async function open(
  make: (options?: DriverOptions) => TestRuntime,
  setting: ServingOptions & DriverOptions & OpenSetting = {},
): Promise<Opened> {
  const state = new TlsState(configOf(0), { drain: setting.drain });
  const runtime = make(setting);
  const errors: unknown[] = [];
  const shared = setting.tools ?? await tools();
  const { onTlsError = (error: unknown) => errors.push(error) } = setting;
  const follow = addFollower.bind(undefined, state);
  const { drain, drainTally } = sharedBy(state);
  const served = { state, runtime, onTlsError, drain, drainTally, follow };
  const handoff = await Handoff.open(shared, setting.address ?? LOOPBACK, served);
  const { port } = handoff.address;
  const server: Opened = {
    state,
    runtime,
    handoff,
    kernel: shared.kernel,
    errors,
    port,
    swap() {
      state.swap(configOf(state.generation + 1));
      return state.current().leaf.fingerprint256;
    },
    dial: () => HttpConnection.open(port),
    async [Symbol.asyncDispose]() {
      handoff.destroy();
      await handoff.finished;
    },
  };
  opened.add(server);
  return server;
}

/** Waits for a condition. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  for (const end = Date.now() + DEADLINE_MS; !condition();) {
    if (Date.now() > end) throw new Error(`never: ${what}`);
    await delay(5);
  }
}

/** How many sockets this process has open. */
export function descriptors(kernel: Kernel): number {
  let count = 0;
  for (let descriptor = 0, end = kernel.tableSize(); descriptor < end; descriptor++) {
    if (kernel.cookie(descriptor) !== 0n) count++;
  }
  return count;
}

/** Whether a TCP connection is accepted by the system. */
export async function isListening(port: number, host = "127.0.0.1"): Promise<boolean> {
  const socket = connect({ host, port });
  const isOpen = await new Promise<boolean>((resolve) =>
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false))
  );
  socket.destroy();
  return isOpen;
}
