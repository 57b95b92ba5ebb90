import { assertEquals } from "@std/assert";
import test from "node:test";
import { TlsState } from "../../mod.ts";
import { issueCa, issueClient, type Issued, issueServer } from "./certificates.ts";
import { configOf, OpensslClient } from "./peers.ts";

/** A server under test: it greets whoever gets in with `generation N`, and says nothing to others. */
export interface GreetingServer extends AsyncDisposable {
  readonly port: number;
  /** What the server was told about those that it refused. */
  readonly refusals: readonly string[];
}

/**
 * What must hold of client certificates, however a connection is accepted, over TLS 1.2 and 1.3. The client is
 * `openssl s_client`, which keeps its session and resumes it whatever the server thinks of it.
 */
export async function testClientAuth(kind: string, serve: (state: TlsState) => Promise<GreetingServer>): Promise<void> {
  const [oldCa, newCa] = await Promise.all([issueCa("old CA"), issueCa("new CA")]);
  const intermediate = await issueCa("intermediate of the old CA", { issuer: oldCa });
  const server = await issueServer("server");
  const expiry = { notBefore: new Date(Date.now() - 7_200_000), notAfter: new Date(Date.now() - 3_600_000) };
  const clients = {
    good: await issueClient("good", { issuer: oldCa }),
    chained: await issueClient("chained", { issuer: intermediate }),
    foreign: await issueClient("foreign", { issuer: newCa }),
    selfSigned: await issueClient("self-signed"),
    expired: await issueClient("expired", { issuer: oldCa, ...expiry }),
  };
  const trusting = (mode: "required" | "optional", ...cas: Issued[]) =>
    configOf(server, { clientAuth: { mode, ca: cas.map(({ cert }) => cert).join("") } });

  /** Runs an openssl client against a fresh server and cleans both up. */
  async function withClient(
    state: TlsState,
    client: Issued | undefined,
    body: (run: (resume?: boolean) => Promise<boolean>, server: GreetingServer) => Promise<void>,
    version: string,
  ): Promise<void> {
    const greeting = await serve(state);
    const openssl = await OpensslClient.create(client);
    const args = [version, "-alpn", "http/1.1"];
    const run = async (resume = false) => (await openssl.run(greeting.port, { resume, args })).greeted;
    try {
      await body(run, greeting);
    } finally {
      await openssl[Symbol.asyncDispose]();
      await greeting[Symbol.asyncDispose]();
    }
  }

  for (const version of ["-tls1_2", "-tls1_3"]) {
    const title = (what: string) => `${kind}: ${what} (openssl s_client ${version})`;

    test(title("required client authentication lets in who has a certificate of the CA, and nobody else"), async () => {
      const state = new TlsState(trusting("required", oldCa));
      const entered: string[] = [];
      for (const [name, client] of [["none", undefined], ...Object.entries(clients)] as const) {
        await withClient(state, client, async (run, server) => {
          if (await run()) entered.push(name);
          else assertEquals(server.refusals, ["CLIENT_UNAUTHORIZED"], name);
        }, version);
      }
      assertEquals(entered, ["good", "chained"]);
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
        assertEquals(entered, ["none", "none resumed", "good", "good resumed", "chained", "chained resumed"]);
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
        assertEquals(server.refusals.length, 3);
      }, version);
      await withClient(state, clients.foreign, async (run) => assertEquals(await run(), true), version);
    });

    test(
      title("a swap that keeps the CA lets its clients resume, with another certificate and beside another CA"),
      async () => {
        const state = new TlsState(trusting("required", oldCa));
        for (const client of [clients.good, clients.chained]) {
          await withClient(state, client, async (run) => {
            assertEquals(await run(), true);
            state.swap(trusting("required", newCa, oldCa));
            assertEquals(await run(true), true);
            state.swap(trusting("optional", oldCa));
            assertEquals(await run(true), true);
          }, version);
        }
      },
    );

    test(title("a swap that begins to ask for certificates refuses sessions of clients that have none"), async () => {
      const state = new TlsState(configOf(server));
      await withClient(state, undefined, async (run) => {
        assertEquals(await run(), true);
        state.swap(trusting("required", oldCa));
        assertEquals(await run(true), false);
        assertEquals(await run(), false);
      }, version);
    });
  }
}
