import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import test from "node:test";
import { type TlsConfigInit, TlsReloadError, TlsState } from "../../mod.ts";
import { issueCa, issueClient, type Issued, issueServer } from "./certificates.ts";
import { type GreetingServer, HIDES_CHAIN } from "./client_auth_contract.ts";
import { makeCrl } from "./crls.ts";
import { closed, configOf, dial, OpensslClient, visitSlowly } from "./peers.ts";
import { until } from "./tcp.ts";

const HOUR_MS = 3_600_000;
const VERSIONS = ["-tls1_2", "-tls1_3"];

/** Runs `openssl s_client` and tells whether the server has greeted it. */
type Run = (resume?: boolean) => Promise<boolean>;

/**
 * What must hold of revocation, however a connection is accepted, over TLS 1.2 and 1.3. The lists are made by
 * `openssl ca`, and the client is `openssl s_client`.
 */
export async function testRevocation(kind: string, serve: (state: TlsState) => Promise<GreetingServer>): Promise<void> {
  const [authority, other] = await Promise.all([issueCa("authority"), issueCa("other")]);
  const intermediate = await issueCa("intermediate", { issuer: authority });
  const clients = {
    good: await issueClient("good", { issuer: authority }),
    revoked: await issueClient("revoked", { issuer: authority }),
    foreign: await issueClient("foreign", { issuer: other }),
    chained: await issueClient("chained", { issuer: intermediate }),
    chainedRevoked: await issueClient("chained and revoked", { issuer: intermediate }),
  };
  const server = await issueServer("server");
  const empty = makeCrl(authority);
  const list = makeCrl(authority, { revoked: [clients.revoked] });
  const past = { thisUpdate: new Date(Date.now() - 3 * HOUR_MS), nextUpdate: new Date(Date.now() - 2 * HOUR_MS) };
  const stale = makeCrl(authority, { ...past, revoked: [clients.revoked] });
  const ofIntermediate = makeCrl(intermediate, { revoked: [clients.chainedRevoked] });
  const intermediates = intermediate.cert.split(/(?<=-----END CERTIFICATE-----\n)/)[0]!;

  const withAuth = (options: Partial<NonNullable<TlsConfigInit["clientAuth"]>>) =>
    configOf(server, { clientAuth: { mode: "required", ca: authority.cert + other.cert, ...options } });

  async function withClient(
    state: TlsState,
    client: Issued,
    version: string,
    body: (run: Run, server: GreetingServer) => Promise<void>,
  ): Promise<void> {
    const greeting = await serve(state);
    const openssl = await OpensslClient.create(client);
    const args = [version, "-alpn", "http/1.1"];
    try {
      await body(async (resume = false) => (await openssl.run(greeting.port, { resume, args })).greeted, greeting);
    } finally {
      await openssl[Symbol.asyncDispose]();
      await greeting[Symbol.asyncDispose]();
    }
  }

  /** Whether each client enters, over each version. */
  async function entering(state: TlsState, names: readonly (keyof typeof clients)[]): Promise<string[]> {
    const entered: string[] = [];
    for (const version of VERSIONS) {
      for (const name of names) {
        await withClient(state, clients[name], version, async (run) => {
          if (await run()) entered.push(`${name} ${version}`);
        });
      }
    }
    return entered;
  }

  const both = (...names: string[]) => VERSIONS.flatMap((version) => names.map((name) => `${name} ${version}`));

  test(`${kind}: a revoked client is refused, and clients that are not revoked enter, of other authorities as well`, async () => {
    const state = new TlsState(withAuth({ crl: list }));
    assertEquals(await entering(state, ["good", "revoked", "foreign"]), both("good", "foreign"));
  });

  for (const version of VERSIONS) {
    test(`${kind}: a swap that revokes a client refuses it fresh and resumed (openssl s_client ${version})`, async () => {
      const state = new TlsState(withAuth({ crl: empty }));
      await withClient(state, clients.revoked, version, async (run, server) => {
        assertEquals([await run(), await run(true)], [true, true]);
        state.swap(withAuth({ crl: list }));
        assertEquals([await run(true), await run(true), await run()], [false, false, false]);
        await until(() => server.refusals.length > 2);
        assertEquals(new Set(server.refusals), new Set(["CLIENT_UNAUTHORIZED"]));
        state.swap(withAuth({ crl: empty }));
        assertEquals(await run(), true);
      });
      await withClient(state, clients.good, version, async (run) => {
        assertEquals(await run(), true);
        state.swap(withAuth({ crl: list }));
        assertEquals(await run(true), true);
      });
    });

    test(`${kind}: a session does not outlive the nextUpdate of its list (openssl s_client ${version})`, async () => {
      const crl = makeCrl(authority, { nextUpdate: new Date(Date.now() + HOUR_MS / 3) });
      const { now } = Date;
      for (const staleCrl of ["refuse", "accept"] as const) {
        await withClient(new TlsState(withAuth({ crl, staleCrl })), clients.good, version, async (run) => {
          assertEquals([await run(), await run(true)], [true, true]);
          Date.now = () => now() + HOUR_MS / 2;
          try {
            assertEquals(await run(true), staleCrl === "accept");
          } finally {
            Date.now = now;
          }
        });
      }
    });
  }

  test(`${kind}: a client whose handshake spans a swap that revokes it is refused`, async () => {
    for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
      for (const [crl, isRefused] of [[empty, false], [list, true]] as const) {
        const state = new TlsState(withAuth({ crl: empty }));
        const greeting = await serve(state);
        const { cert, key } = clients.revoked;
        const options = { cert, key, maxVersion, ALPNProtocols: ["http/1.1"] };
        const seen = await visitSlowly(greeting.port, () => state.swap(withAuth({ crl })), options);
        await greeting[Symbol.asyncDispose]();
        assertEquals(seen === undefined, isRefused, maxVersion);
      }
    }
  });

  test(`${kind}: a swap that revokes a client ends its connection, and no other`, async () => {
    const state = new TlsState(withAuth({ crl: empty }), { drain: { spreadMs: 100 } });
    const greeting = await serve(state);
    const connect = ({ cert, key }: Issued) => dial(greeting.port, { cert, key, ALPNProtocols: ["http/1.1"] });
    const revoked = await connect(clients.revoked);
    const others = [await connect(clients.good), await connect(clients.foreign)];
    await until(() => state.authorities().reduce((sum, { liveConnections }) => sum + liveConnections, 0) === 3);
    state.swap(withAuth({ crl: list }));
    await closed(revoked);
    for (const { destroyed, readableEnded } of others) assertEquals([destroyed, readableEnded], [false, false]);
    for (const other of others) other.destroy();
    await greeting[Symbol.asyncDispose]();
  });

  test(`${kind}: a list past its nextUpdate refuses the clients of its authority, and no others`, async () => {
    const all = ["good", "revoked", "foreign"] as const;
    assertEquals(await entering(new TlsState(withAuth({ crl: stale })), all), both("foreign"));
    const accepting = withAuth({ crl: stale, staleCrl: "accept" });
    assertEquals(await entering(new TlsState(accepting), all), both("good", "foreign"));
    assertEquals(await entering(new TlsState(withAuth({ crl: [stale, empty] })), all), both("good", "foreign"));
    const future = makeCrl(authority, {
      thisUpdate: new Date(Date.now() + HOUR_MS),
      nextUpdate: new Date(Date.now() + 2 * HOUR_MS),
    });
    assertEquals(await entering(new TlsState(withAuth({ crl: future })), all), both("foreign"));
  });

  test(`${kind}: requireCrl refuses the clients of an authority without a list`, async () => {
    const all = ["good", "revoked", "foreign"] as const;
    assertEquals(await entering(new TlsState(withAuth({ crl: list, requireCrl: true })), all), both("good"));
    assertEquals(await entering(new TlsState(withAuth({ requireCrl: true })), all), []);
    const whole = withAuth({ crl: [list, makeCrl(other)], requireCrl: true });
    assertEquals(await entering(new TlsState(whole), all), both("good", "foreign"));
  });

  test(`${kind}: the list of an intermediate revokes its clients, and that of an authority the intermediate`, async () => {
    const names = ["chained", "chainedRevoked"] as const;
    const everyList = withAuth({ crl: [list, ofIntermediate], intermediates, requireCrl: true });
    assertEquals(await entering(new TlsState(everyList), names), both("chained"));
    const revoking = makeCrl(authority, { revoked: [intermediate] });
    assertEquals(await entering(new TlsState(withAuth({ crl: revoking })), names), []);
    assertEquals(await entering(new TlsState(withAuth({ crl: revoking, intermediates })), names), []);
  });

  test(`${kind}: only a runtime that hides intermediates needs them listed`, async () => {
    const expected = HIDES_CHAIN ? [] : both("chained");
    assertEquals(await entering(new TlsState(withAuth({ crl: list })), ["chained"]), expected);
    assertEquals(await entering(new TlsState(withAuth({ crl: list, intermediates })), ["chained"]), both("chained"));
    assertEquals(await entering(new TlsState(withAuth({})), ["chained"]), both("chained"));
  });

  test(`${kind}: a list whose authority is not in the configuration is refused`, () => {
    const error = assertThrows(() => withAuth({ crl: ofIntermediate }), TlsReloadError);
    assertEquals(error.code, "CRL_INVALID");
    assertMatch(error.message, /"CN=intermediate": neither 'ca' nor 'intermediates' holds its authority$/);
  });
}
