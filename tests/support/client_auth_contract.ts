import { assertEquals, assertMatch, assertStrictEquals, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import test from "node:test";
import { encodePem, parsePem, type TlsConfig, TlsReloadError, TlsState } from "../../mod.ts";
import type { ClientVerification } from "../../src/accept/client_verification.ts";
import { TrustAnchors } from "../../src/x509/trust_anchors.ts";
import { issueCa, issueClient, type Issued, issueServer } from "./certificates.ts";
import { opensslText } from "./openssl.ts";
import { configOf, OpensslClient } from "./peers.ts";
import { runtimeName } from "./runtimes.ts";
import { until } from "./tcp.ts";

/** A server under test: it greets whoever gets in with `generation N`, and says nothing to others. */
export interface GreetingServer extends AsyncDisposable {
  readonly port: number;
  /** What the server was told about those that it refused. */
  readonly refusals: readonly string[];
  /** Judges the clients of the current generation. */
  readonly verification: ClientVerification;
  /** Whether the runtime keeps asking for certificates as the server was created: `swap()` refuses the rest. */
  readonly keepsMode?: boolean;
}

/** A certificate and its key in PEM. */
type Pair = Pick<Issued, "cert" | "key">;

/** `getPeerCertificate(true)` of Node 24 leads from a client to no intermediate certificate. */
export const HIDES_CHAIN = /^node 24\./.test(runtimeName()) ? "Node 24 does not tell the chain of a client" : false;

/** How `openssl s_client` tells of a reset. Behind attach() Bun ends the connection, but without the end of TLS. */
const BROKEN = runtimeName().startsWith("bun") ? /errno=(104|54)\b|unexpected eof/ : /errno=(104|54)\b/;

/** Swaps to a configuration that asks for certificates in another way, and tells whether it was possible. */
function swapMode(state: TlsState, server: GreetingServer, next: TlsConfig): boolean {
  if (!server.keepsMode) {
    state.swap(next);
    return true;
  }
  const previous = state.current();
  assertEquals(assertThrows(() => state.swap(next), TlsReloadError).code, "UNSUPPORTED");
  assertStrictEquals(state.current(), previous);
  return false;
}

let others = 0;

/** Remembers other clients without a handshake: nobody could wait for so many real ones. */
function rememberOthers({ verification }: GreetingServer, count: number): void {
  for (const last = others + count; others < last; others++) {
    const finding = { anchors: new TrustAnchors([]), notBefore: 0, notAfter: 0, authorities: new Set<string>() };
    verification.verifiedClients.remember(`other ${others}`, { intermediates: [], finding });
  }
}

const CONFIG = `
  [req]
  distinguished_name = name
  [name]
  [ca]
  basicConstraints = critical,CA:TRUE
  [client]
  basicConstraints = critical,CA:FALSE
  extendedKeyUsage = clientAuth`;

/** Of a key that not every runtime can verify with; made by openssl, as not every runtime can sign with it either. */
function p521Ca(): Pair {
  return pairOf(opensslText(`${REQ} -pkeyopt ec_paramgen_curve:P-521 -subj /CN=P-521 -extensions ca`, "", CONFIG));
}

/** A client of such an authority. */
function clientOf(ca: Pair): Pair {
  const options = "-pkeyopt ec_paramgen_curve:P-256 -subj /CN=client -extensions client -CA FILE -CAkey FILE";
  return pairOf(opensslText(`${REQ} ${options}`, ca.cert + ca.key, CONFIG));
}

const REQ = "req -x509 -newkey ec -nodes -days 2 -config CONFIG -keyout FILE.pem -out FILE.pem";

function pairOf(pem: string): Pair {
  const [key, cert] = parsePem(pem).map(encodePem);
  return { cert: cert!, key: key! };
}

/**
 * What must hold of client certificates, however a connection is accepted, over TLS 1.2 and 1.3. The client is
 * `openssl s_client`, which keeps its session and resumes it whatever the server thinks of it.
 */
export async function testClientAuth(kind: string, serve: (state: TlsState) => Promise<GreetingServer>): Promise<void> {
  const [oldCa, newCa] = await Promise.all([issueCa("old CA"), issueCa("new CA")]);
  const intermediate = await issueCa("intermediate of the old CA", { issuer: oldCa });
  const second = await issueCa("intermediate of the intermediate", { issuer: intermediate });
  const limitedCa = await issueCa("old CA", { keys: oldCa.keys, permitted: "example.com" });
  const p521 = p521Ca();
  const server = await issueServer("server");
  const expiry = { notBefore: new Date(Date.now() - 7_200_000), notAfter: new Date(Date.now() - 3_600_000) };
  const clients = {
    good: await issueClient("good", { issuer: oldCa }),
    chained: await issueClient("chained", { issuer: intermediate }),
    deep: await issueClient("deep", { issuer: second }),
    lasting: await issueClient("lasting", { issuer: intermediate, notAfter: new Date(Date.now() + 4 * 3_600_000) }),
    foreign: await issueClient("foreign", { issuer: newCa }),
    selfSigned: await issueClient("self-signed"),
    expired: await issueClient("expired", { issuer: oldCa, ...expiry }),
  };
  const trusting = (mode: "required" | "optional", ...cas: Pair[]) =>
    configOf(server, { clientAuth: { mode, ca: cas.map(({ cert }) => cert).join("") } });

  /** Runs an openssl client against a fresh server and cleans both up. */
  async function withClient(
    state: TlsState,
    client: Pair | undefined,
    body: (
      run: (resume?: boolean) => Promise<boolean>,
      server: GreetingServer,
      openssl: OpensslClient,
    ) => Promise<void>,
    version: string,
  ): Promise<void> {
    const greeting = await serve(state);
    const openssl = await OpensslClient.create(client);
    const args = [version, "-alpn", "http/1.1"];
    const run = async (resume = false) => (await openssl.run(greeting.port, { resume, args })).greeted;
    try {
      await body(run, greeting, openssl);
    } finally {
      await openssl[Symbol.asyncDispose]();
      await greeting[Symbol.asyncDispose]();
    }
  }

  test(`${kind}: a client cannot become another one by renegotiation (openssl s_client -tls1_2)`, async () => {
    for (const mode of ["required", "optional"] as const) {
      await withClient(new TlsState(trusting(mode, oldCa)), clients.good, async (_run, { port }, openssl) => {
        const { greeted, output } = await openssl.run(port, {
          renegotiate: true,
          args: ["-tls1_2", "-alpn", "http/1.1"],
        });
        // A client is shown the certificate of the server in each handshake.
        const [, after = ""] = output.split("RENEGOTIATING");
        assertEquals([greeted, after.includes("depth=0")], [true, false], after);
      }, "-tls1_2");
    }
  });

  test(`${kind}: authorities that have issued each other hold no server up`, async () => {
    const [one, other] = await Promise.all([issueCa("bridge one"), issueCa("bridge other")]);
    const [left, right] = await Promise.all([
      issueCa("bridge one", { keys: one.keys, issuer: other }),
      issueCa("bridge other", { keys: other.keys, issuer: one }),
    ]);
    const state = new TlsState(trusting("required", left, right, oldCa));
    // Whether it gets in is for the runtime to say.
    await withClient(state, await issueClient("bridged", { issuer: one }), async (run) => void await run(), "-tls1_3");
    await withClient(state, clients.good, async (run) => assertEquals(await run(), true), "-tls1_3");
  });

  for (const version of ["-tls1_2", "-tls1_3"]) {
    const title = (what: string) => `${kind}: ${what} (openssl s_client ${version})`;

    test(title("required client authentication lets in who has a certificate of the CA, and nobody else"), async () => {
      const state = new TlsState(trusting("required", oldCa));
      const entered: string[] = [];
      for (const [name, client] of [["none", undefined], ...Object.entries(clients)] as const) {
        await withClient(state, client, async (run, server) => {
          if (await run()) return void entered.push(name);
          await until(() => server.refusals.length > 0);
          assertEquals(server.refusals, ["CLIENT_UNAUTHORIZED"], name);
        }, version);
      }
      assertEquals(entered, ["good", "chained", "deep", "lasting"]);
    });

    test(
      title("optional client authentication lets in who has none, and refuses a bad one also when resumed"),
      async () => {
        const state = new TlsState(trusting("optional", oldCa));
        const entered: string[] = [];
        for (const [name, client] of [["none", undefined], ...Object.entries(clients)] as const) {
          await withClient(state, client, async (run) => {
            if (await run()) entered.push(name);
            if (await run(true)) entered.push(`${name} resumed`);
          }, version);
        }
        const expected = ["none", "good", "chained", "deep", "lasting"].flatMap((name) => [name, `${name} resumed`]);
        assertEquals(entered, expected);
      },
    );

    test(title("a swap of the CA refuses the old client, fresh and resumed, and lets the new one in"), async () => {
      const state = new TlsState(trusting("required", oldCa));
      await withClient(state, clients.chained, async (run, server) => {
        assertEquals([await run(), await run(true)], [true, true]);
        state.swap(trusting("required", newCa));
        assertEquals(await run(true), false);
        assertEquals(await run(true), false);
        assertEquals(await run(), false);
        await until(() => server.refusals.length > 2);
        assertEquals(server.refusals.length, 3);
      }, version);
      await withClient(state, clients.foreign, async (run) => assertEquals(await run(), true), version);
    });

    test(
      title("a swap that keeps the CA lets its clients resume, with another certificate and beside another CA"),
      async () => {
        const state = new TlsState(trusting("required", oldCa));
        for (const client of [clients.good, clients.chained, clients.deep]) {
          await withClient(state, client, async (run, server) => {
            assertEquals(await run(), true);
            state.swap(trusting("required", newCa, oldCa));
            assertEquals(await run(true), true);
            swapMode(state, server, trusting("optional", oldCa));
            assertEquals(await run(true), true);
          }, version);
        }
      },
    );

    test(title("a swap that removes another CA lets the clients of the one that stays resume"), async () => {
      const state = new TlsState(trusting("required", newCa, oldCa));
      await withClient(state, clients.good, async (run) => {
        assertEquals(await run(), true);
        state.swap(trusting("required", oldCa));
        assertEquals(await run(true), true);
      }, version);
    });

    test(title("a swap to a CA of the same name and key that permits less refuses, fresh and resumed"), async () => {
      const state = new TlsState(trusting("required", oldCa));
      await withClient(state, clients.good, async (run) => {
        assertEquals(await run(), true);
        state.swap(trusting("required", limitedCa));
        assertEquals([await run(true), await run()], [false, false]);
      }, version);
    });

    test(title("a session ends with the first certificate of the client's chain"), { skip: HIDES_CHAIN }, async () => {
      const { now } = Date;
      await withClient(new TlsState(trusting("required", oldCa)), clients.lasting, async (run) => {
        assertEquals([await run(), await run(true)], [true, true]);
        Date.now = () => now() + 2 * 3_600_000;
        try {
          assertEquals(await run(true), false);
        } finally {
          Date.now = now;
        }
      }, version);
    });

    test(title("a client that resumes is remembered; one that is forgotten is reset and enters anew"), async () => {
      const state = new TlsState(trusting("required", oldCa));
      await withClient(state, clients.chained, async (run, server, openssl) => {
        assertEquals(await run(), true);
        rememberOthers(server, 6_000);
        assertEquals(await run(true), true);
        rememberOthers(server, 6_000);
        assertEquals(await run(true), true);
        rememberOthers(server, 12_000);
        const refused = await openssl.run(server.port, { resume: true, args: [version, "-alpn", "http/1.1"] });
        assertEquals(refused.greeted, false);
        // Of a connection that just ends a client thinks no ill, and resumes the same session for ever.
        assertMatch(refused.output, BROKEN);
        assertEquals([await run(), await run(true)], [true, true]);
      }, version);
    });

    test(title("what stands behind the client's certificate ends no process when the client resumes"), async () => {
      const state = new TlsState(trusting("required", oldCa));
      const unreadable = Buffer.from(parsePem(intermediate.cert)[0]!.der);
      unreadable.write("?", unreadable.indexOf(Buffer.of(0x17, 13)) + 2);
      const junk = encodePem({ label: "CERTIFICATE", der: unreadable });
      for (const behind of [junk, p521.cert, junk + p521.cert]) {
        await withClient(state, { ...clients.good, cert: clients.good.cert + behind }, async (run) => {
          const before = await run();
          state.swap(trusting("required", newCa, oldCa));
          assertEquals(await run(true), before);
          state.swap(trusting("required", newCa));
          assertEquals(await run(true), false);
          state.swap(trusting("required", oldCa));
        }, version);
      }
    });

    test(title("a client of a P-521 authority resumes beside another CA"), async () => {
      const state = new TlsState(trusting("required", p521));
      await withClient(state, clientOf(p521), async (run) => {
        assertEquals([await run(), await run(true)], [true, true]);
        state.swap(trusting("required", p521, newCa));
        assertEquals(await run(true), true);
      }, version);
    });

    test(title("a swap that begins to ask for certificates refuses sessions of clients that have none"), async () => {
      const state = new TlsState(configOf(server));
      await withClient(state, undefined, async (run, server) => {
        assertEquals(await run(), true);
        const letsIn = !swapMode(state, server, trusting("required", oldCa));
        assertEquals(await run(true), letsIn);
        assertEquals(await run(), letsIn);
      }, version);
    });
  }
}
