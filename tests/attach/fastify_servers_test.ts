import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import dns from "node:dns";
import { once } from "node:events";
import process from "node:process";
import test from "node:test";
import fastify, { type FastifyInstance } from "fastify";
import { TlsReloadError, TlsState } from "../../mod.ts";
import { attach } from "../../src/node.ts";
import { issueServer } from "../support/certificates.ts";
import { configOf, dial, portOf } from "../support/peers.ts";

const [first, second] = await Promise.all([issueServer("first"), issueServer("second")]);
const REFUSAL = "Fastify listens on each address of localhost by a server of its own";

/** Listens on both addresses of localhost, be they in the hosts file of this machine or not. */
async function listenOnLocalhost(app: FastifyInstance): Promise<void> {
  const { lookup } = dns;
  const addresses = [{ address: "127.0.0.1", family: 4 }, { address: "::1", family: 6 }];
  dns.lookup = ((_host: string, _options: object, done: (error: null, found: object[]) => void) => {
    done(null, addresses);
  }) as typeof lookup;
  try {
    await app.listen({ port: 0 });
  } finally {
    dns.lookup = lookup;
  }
}

test("an attached server of Fastify is reported once there are several, and swap() is refused", async () => {
  const state = new TlsState(configOf(first));
  const app = fastify({ https: state.tls });
  const attachment = attach(state, app.server);
  const warned = once(process, "warning");
  await listenOnLocalhost(app);
  assertStringIncludes(String((await warned)[0]), REFUSAL);
  assertEquals(assertThrows(() => state.swap(configOf(second)), TlsReloadError, REFUSAL).code, "UNSUPPORTED");
  assertEquals(state.current().leaf.fingerprint256, first.fingerprint256);
  attachment[Symbol.dispose]();
  state.swap(configOf(second));
  await app.close();
});

test("attach() refuses one of several servers of Fastify", async () => {
  const state = new TlsState(configOf(first));
  const app = fastify({ https: state.tls });
  await listenOnLocalhost(app);
  assertThrows(() => attach(state, app.server), TlsReloadError, REFUSAL);
  await app.close();
});

test("attach() accepts the server of Fastify that listens on one address", async () => {
  const state = new TlsState(configOf(first));
  const app = fastify({ https: state.tls });
  attach(state, app.server);
  await app.listen({ host: "127.0.0.1", port: 0 });
  state.swap(configOf(second));
  const client = await dial(portOf(app.server));
  assertEquals(client.getPeerCertificate().fingerprint256, second.fingerprint256);
  client.destroy();
  await app.close();
});
