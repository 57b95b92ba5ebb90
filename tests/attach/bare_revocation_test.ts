import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { once } from "node:events";
import process from "node:process";
import test from "node:test";
import { createServer } from "node:tls";
import { type TlsConfigInit, TlsReloadError, TlsState } from "../../mod.ts";
import { attach, secureContext } from "../../src/node.ts";
import { issueCa, issueClient, type Issued, issueServer } from "../support/certificates.ts";
import { makeCrl } from "../support/crls.ts";
import { configOf, portOf, visit } from "../support/peers.ts";

const { bun, deno } = process.versions as Record<string, string | undefined>;
/** Deno has no bare server that knows revocation lists. */
const ON_NODE_AND_BUN = { skip: deno !== undefined && "state.tls throws on Deno" };
const HOUR_MS = 3_600_000;
const server = await issueServer("server");
const [authority, other] = [await issueCa("authority"), await issueCa("other")];
const clients = {
  good: await issueClient("good", { issuer: authority }),
  revoked: await issueClient("revoked", { issuer: authority }),
  foreign: await issueClient("foreign", { issuer: other }),
};
const list = makeCrl(authority, { revoked: [clients.revoked] });
const stale = makeCrl(authority, {
  thisUpdate: new Date(Date.now() - 2 * HOUR_MS),
  nextUpdate: new Date(Date.now() - HOUR_MS),
});
const withAuth = (options: Partial<NonNullable<TlsConfigInit["clientAuth"]>>) =>
  configOf(server, { clientAuth: { mode: "required", ca: authority.cert + other.cert, ...options } });
const whole = withAuth({ crl: [list, makeCrl(other)] });

async function entering(port: number): Promise<string[]> {
  const entered: string[] = [];
  for (const [name, { cert, key }] of Object.entries<Issued>(clients)) {
    if ((await visit(port, { cert, key })).greeting !== undefined) entered.push(name);
  }
  return entered;
}

async function serveBare(
  options: object,
  attachTo?: TlsState,
): Promise<{ port: number; stop: () => Promise<unknown> }> {
  const listener = createServer(options, (socket) => {
    socket.on("error", () => socket.destroy()).resume().end("generation 0\n");
  });
  listener.on("tlsClientError", () => {});
  const attachment = attachTo && attach(attachTo, listener);
  await once(listener.listen(0, "127.0.0.1"), "listening");
  const stop = () => {
    attachment?.[Symbol.dispose]();
    return new Promise((resolve) => listener.close(resolve));
  };
  return { port: portOf(listener), stop };
}

test("state.tls makes a bare server refuse revoked clients", ON_NODE_AND_BUN, async () => {
  const { port, stop } = await serveBare(new TlsState(whole).tls);
  assertEquals(await entering(port), ["good", "foreign"]);
  await stop();
});

test("state.tls makes a bare server refuse everyone when a list is stale, as documented", ON_NODE_AND_BUN, async () => {
  const { port, stop } = await serveBare(new TlsState(withAuth({ crl: [stale, makeCrl(other)] })).tls);
  assertEquals((await entering(port)).includes("good"), false);
  await stop();
});

test("attach() does not keep the lists that a server has from state.tls", ON_NODE_AND_BUN, async () => {
  const state = new TlsState(whole);
  const { port, stop } = await serveBare(state.tls, state);
  assertEquals(await entering(port), ["good", "foreign"]);
  state.swap(withAuth({ crl: stale }));
  assertEquals(await entering(port), ["foreign"]);
  state.swap(withAuth({}));
  assertEquals(await entering(port), ["good", "revoked", "foreign"]);
  await stop();
});

test("state.tls and secureContext() throw where a bare server would answer otherwise than the configuration", () => {
  const cases: [ReturnType<typeof withAuth>, RegExp][] = [
    [withAuth({ crl: list }), /an authority without a revocation list, as "CN=other" is/],
    [withAuth({ requireCrl: true }), /an authority without a revocation list, as "CN=authority" is/],
    [withAuth({ crl: [list, makeCrl(other)], staleCrl: "accept" }), /always refuses clients when a revocation list/],
  ];
  for (const [config, reason] of deno ? [...cases, [whole, / /] as const] : cases) {
    for (const give of [() => new TlsState(config).tls, () => secureContext(config)]) {
      const { code, message } = assertThrows(give, TlsReloadError);
      assertEquals(code, "UNSUPPORTED");
      assertMatch(message, deno ? /on Deno .*: it ignores revocation lists/ : reason);
    }
  }
});

test("Deno ignores the revocation lists of a server: state.tls need not throw once it does not", {
  skip: deno === undefined && "runs on Deno",
}, async () => {
  const options = new TlsState(withAuth({})).tls;
  const { port, stop } = await serveBare({ ...options, crl: [String(list), String(makeCrl(other))] });
  assertEquals(await entering(port), ["good", "revoked", "foreign"]);
  await stop();
});

test(
  "secureContext() holds the revocation lists",
  { skip: (deno ?? bun) !== undefined && "runs on Node" },
  async () => {
    const options = { ...new TlsState(whole).tls, crl: undefined };
    const context = secureContext(whole);
    const { port, stop } = await serveBare({
      ...options,
      SNICallback: (_: string, done: (error: null, context: object) => void) => done(null, context),
    });
    const entered: string[] = [];
    for (const [name, { cert, key }] of Object.entries<Issued>(clients)) {
      if ((await visit(port, { cert, key, servername: "localhost" })).greeting !== undefined) entered.push(name);
    }
    assertEquals(entered, ["good", "foreign"]);
    await stop();
  },
);
