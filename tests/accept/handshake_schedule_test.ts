import { assert, assertEquals } from "@std/assert";
import { Duplex, duplexPair } from "node:stream";
import test from "node:test";
import { connect } from "node:tls";
import { type AcceptOptions, TlsReloadError, TlsState } from "../../mod.ts";
import { issueServer } from "../support/certificates.ts";
import { clientHello, configOf } from "../support/peers.ts";
import { tcpPair } from "../support/tcp.ts";

const state = new TlsState(configOf(await issueServer("schedule")));
/** More turns of the event loop than a handshake in memory takes. */
const TURNS = 8;
/** The microtasks of the first turn at which a handshake is disturbed. */
const MICROTASKS = 6;
/** Only a handshake that never ends lasts so long. */
const NEVER_MS = 10_000;

/** Both ends of a connection: the one that is accepted, and that of the client. */
type Ends = readonly [near: Duplex, far: Duplex];

const TRANSPORTS: Readonly<Record<string, () => Promise<Ends>>> = {
  "a duplex": () => {
    const [near, far] = duplexPair();
    // Nothing tells one end of a pair that the other one is destroyed.
    far.once("close", () => near.destroy());
    return Promise.resolve([near, far]);
  },
  "a socket": () => tcpPair(),
};

const DISTURBANCES: Readonly<Record<string, (ends: Ends, abort: AbortController) => void>> = {
  "the connection is destroyed": ([near]) => near.destroy(),
  "the connection fails": ([near]) => near.destroy(new Error("disturbed")),
  "the client is destroyed": ([, far]) => far.destroy(),
  "the client ends": ([, far]) => far.end(),
  "the signal is aborted": (_ends, abort) => abort.abort(new Error("disturbed")),
};

const OPTIONS: Readonly<Record<string, AcceptOptions>> = {
  "without its ClientHello": {},
  "after its ClientHello was read": { onClientHello: () => {} },
};

/** Waits for so many microtasks, then for turns of the event loop. */
async function wait(steps: number): Promise<void> {
  for (let step = 0; step < Math.min(steps, MICROTASKS); step++) await undefined;
  for (let step = MICROTASKS; step < steps; step++) await new Promise((resolve) => setImmediate(resolve));
}

/** The outcome of a promise, or `"never"`. */
async function outcomeOf(accepting: Promise<Duplex>): Promise<Duplex | Error | "never"> {
  const never = Promise.withResolvers<"never">();
  const timer = setTimeout(() => never.resolve("never"), NEVER_MS);
  try {
    return await Promise.race([accepting.catch((error: Error) => error), never.promise]);
  } finally {
    clearTimeout(timer);
  }
}

for (const [transport, open] of Object.entries(TRANSPORTS)) {
  test(`TlsAcceptor.accept() over ${transport} settles whenever it is disturbed`, async () => {
    const wrong: string[] = [];
    for (const [when, options] of Object.entries(OPTIONS)) {
      for (const [what, disturb] of Object.entries(DISTURBANCES)) {
        for (let steps = 0; steps < MICROTASKS + TURNS; steps++) {
          const [near, far] = await open();
          const abort = new AbortController();
          far.on("error", () => {});
          const client = connect({ socket: far, rejectUnauthorized: false }).on("error", () => {});
          const accepting = state.acceptor().accept(near, {
            ...options,
            signal: abort.signal,
            handshakeTimeoutMs: Infinity,
          });
          // The client goes in the end, because a handshake that is not disturbed may wait for it for ever.
          void wait(steps).then(() => disturb([near, far], abort)).then(() => wait(TURNS)).then(() => client.destroy());
          const outcome = await outcomeOf(accepting);
          const name = `${what} at step ${steps}, ${when}`;
          if (outcome === "never") wrong.push(`${name}: never settles`);
          else if (outcome instanceof Error) {
            if (!near.destroyed) wrong.push(`${name}: the connection stays open`);
            if (!(outcome instanceof TlsReloadError) && outcome.message !== "disturbed") {
              wrong.push(`${name}: ${outcome}`);
            }
          } else outcome.destroy();
          near.destroy();
          far.destroy();
        }
      }
    }
    assertEquals(wrong, []);
  });
}

test("TlsAcceptor.accept() stops at its time limit when the connection cannot be destroyed", async () => {
  await Promise.all([false, true].map(async (isDestroyed) => {
    const stuck = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done(), destroy() {} });
    const accepting = state.acceptor().accept(stuck, { handshakeTimeoutMs: 20 });
    stuck.push(await clientHello());
    if (isDestroyed) stuck.destroy();
    const outcome = await outcomeOf(accepting);
    assert(outcome instanceof TlsReloadError, String(outcome));
    assertEquals(outcome.code, "HANDSHAKE_TIMEOUT");
  }));
});
