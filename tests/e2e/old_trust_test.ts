import { assert, assertEquals } from "@std/assert";
import test from "node:test";
import { TlsConfig, type TlsConfigInit, TlsState } from "../../mod.ts";
import { issueServer } from "../support/certificates.ts";
import { ChainClient } from "../support/chain_client.ts";
import { ca, client } from "../support/client_kinds.ts";
import { ALL_SERVERS, KNOWING_SERVERS, type StartServer } from "../support/client_servers.ts";
import { makeCrl } from "../support/crls.ts";
import { CLIENT_AUTH, ecKey, extension, general, type Made, make } from "../support/made_certificates.ts";
import { closed, dial, visitSlowly } from "../support/peers.ts";
import { until } from "../support/tcp.ts";
import { fastestOf } from "../support/timing.ts";

const VERSIONS = ["TLSv1.2", "TLSv1.3"] as const;
/** How long a server may compute for one client. */
const STALL_MS = 250;

const server = await issueServer("server");
const [old, next] = [ca({ subject: "old" }), ca({ subject: "next" })];
const [oldClient, nextClient] = [client(old), client(next)];

type ClientAuth = NonNullable<TlsConfigInit["clientAuth"]>;

/** Trusts these authorities. */
function trusting(authorities: readonly Made[], options: Partial<ClientAuth> = {}): TlsConfig {
  const auth = { mode: "required" as const, ca: authorities.map(({ pem }) => pem).join(""), ...options };
  return new TlsConfig({ cert: server.cert, key: server.key, clientAuth: auth });
}

function pairOf(...chain: readonly [Made, ...Made[]]): { cert: string; key: string } {
  const key = chain[0].key.privateKey.export({ type: "pkcs8", format: "pem" }) as string;
  return { cert: chain.map(({ pem }) => pem).join(""), key };
}

/** The same client, connecting to one port or another. */
interface Attacker {
  enters(port: number, chain: readonly [Made, ...Made[]], session?: string): Promise<boolean>;
  /** Gets a session of a server that lets it in. */
  session(port: number, chain: readonly [Made, ...Made[]]): Promise<string>;
}

/** One process for all tests of this file. */
let chainClient: ChainClient | undefined;
let testsLeft = 0;

/** Defines a test of each kind of server and version of TLS: one server and one client each. */
function attack(
  name: string,
  servers: Readonly<Record<string, StartServer>>,
  body: (start: StartServer, attacker: Attacker, version: typeof VERSIONS[number]) => Promise<void>,
): void {
  for (const [kind, start] of Object.entries(servers)) {
    testsLeft++;
    test(`${kind}: ${name}`, async () => {
      chainClient ??= await ChainClient.start();
      const client = chainClient;
      const running: { close(): Promise<unknown> }[] = [];
      const tracked: StartServer = async (state) => {
        const server = await start(state);
        running.push(server);
        return server;
      };
      try {
        for (const version of VERSIONS) {
          const visit = (port: number, chain: readonly [Made, ...Made[]], session?: string) =>
            client.visit({ port, ...pairOf(...chain), version, session });
          await body(tracked, {
            enters: async (port, chain, session) => (await visit(port, chain, session)).isGreeted,
            async session(port, chain) {
              const { isGreeted, session } = await visit(port, chain);
              assert(isGreeted && session !== undefined);
              return session;
            },
          }, version);
        }
      } finally {
        if (--testsLeft === 0) await chainClient[Symbol.asyncDispose]();
        for (const server of running) await server.close();
      }
    });
  }
}

attack("a client does not resume the session of another server, which trusts another authority", ALL_SERVERS, async (
  start,
  attacker,
) => {
  const { port: first } = await start(new TlsState(trusting([old])));
  const { port: second } = await start(new TlsState(trusting([next])));
  const session = await attacker.session(first, [oldClient]);
  assertEquals(await attacker.enters(second, [oldClient], session), false);
  assertEquals(await attacker.enters(second, [nextClient]), true);
});

attack("a client does not resume the session of a server that asks for no certificate", ALL_SERVERS, async (
  start,
  attacker,
) => {
  const { port: open } = await start(new TlsState(new TlsConfig({ cert: server.cert, key: server.key })));
  const { port: closed } = await start(new TlsState(trusting([next])));
  const session = await attacker.session(open, [oldClient]);
  assertEquals(await attacker.enters(closed, [oldClient], session), false);
});

for (const [what, extensions] of [["with", undefined], ["without", [extension.basicConstraints(true)]]] as const) {
  attack(
    `a client does not enter by a new authority ${what} key identifiers that has the name of its own`,
    ALL_SERVERS,
    async (start, attacker) => {
      const named = (key = ecKey()) => ca({ subject: "same name", key, ...(extensions && { extensions }) });
      const [former, latter] = [named(), named()];
      const leaf = make({ subject: "client", issuer: former, extensions: [extension.extKeyUsage(CLIENT_AUTH)] });
      const state = new TlsState(trusting([former]));
      const { port } = await start(state);
      const session = await attacker.session(port, [leaf]);
      state.swap(trusting([latter]));
      assertEquals(await attacker.enters(port, [leaf], session), false);
      assertEquals(await attacker.enters(port, [leaf, former]), false);
      assertEquals(await attacker.enters(port, [leaf, latter]), false);
    },
  );
}

attack(
  "a client does not enter by authorities that have issued each other, once its own is removed",
  KNOWING_SERVERS,
  async (
    start,
    attacker,
  ) => {
    const [left, right] = [ecKey(), ecKey()];
    const [leftRoot, rightRoot] = [ca({ subject: "left", key: left }), ca({ subject: "right", key: right })];
    const leftByRight = ca({ subject: "left", key: left, issuer: rightRoot });
    const rightByLeft = ca({ subject: "right", key: right, issuer: leftRoot });
    const leaf = client(leftRoot);
    const state = new TlsState(trusting([leftRoot, rightRoot, leftByRight, rightByLeft]));
    const { port } = await start(state);
    const session = await attacker.session(port, [leaf, leftByRight, rightByLeft]);
    state.swap(trusting([next]));
    assertEquals(await attacker.enters(port, [leaf, leftByRight, rightByLeft], session), false);
    // Neither is self-signed, so no path ends, however long it goes round.
    state.swap(trusting([leftByRight, rightByLeft]));
    assertEquals(await attacker.enters(port, [leaf, leftByRight, rightByLeft], session), false);
    assertEquals(await attacker.enters(port, [leaf, leftByRight, rightByLeft]), false);
  },
);

attack("allowClient cannot let in a client of an authority that it removes while it is asked", KNOWING_SERVERS, async (
  start,
  attacker,
) => {
  const state: TlsState = new TlsState(trusting([old]), {
    allowClient: () => {
      state.swap(trusting([next]));
      return true;
    },
  });
  const { port } = await start(state);
  assertEquals(await attacker.enters(port, [oldClient]), false);
  assertEquals(state.generation, 1);
});

attack("a client that a list revokes in the middle of its handshake does not enter", KNOWING_SERVERS, async (
  start,
  _attacker,
  maxVersion,
) => {
  const withList = (revoked: readonly Made[]) => {
    const authority = { cert: old.pem, key: pairOf(old).key };
    return trusting([old], { crl: makeCrl(authority, { revoked: revoked.map(({ pem }) => ({ cert: pem })) }) });
  };
  const [empty, revoking] = [withList([]), withList([oldClient])];
  const state = new TlsState(empty);
  const { port } = await start(state);
  const { cert, key } = pairOf(oldClient);
  const options = { cert, key, maxVersion, ALPNProtocols: ["http/1.1"] };
  assertEquals(await visitSlowly(port, () => state.swap(revoking), options), undefined);
});

attack("a client without a certificate is disconnected once one is required", KNOWING_SERVERS, async (
  start,
  _attacker,
  maxVersion,
) => {
  const state = new TlsState(trusting([old], { mode: "optional" }));
  const { port } = await start(state).catch(() => ({ port: 0 }));
  if (port === 0) return;
  const options = { maxVersion, ALPNProtocols: ["http/1.1"] };
  const [nobody, somebody] = [await dial(port, options), await dial(port, { ...options, ...pairOf(oldClient) })];
  await until(() => state.authorities()[0]!.liveConnections === 1);
  state.swap(trusting([old]));
  await closed(nobody);
  assertEquals([somebody.destroyed, somebody.readableEnded], [false, false]);
  somebody.destroy();
});

attack("a chain of any size stalls no server, and others enter meanwhile", KNOWING_SERVERS, async (
  start,
  attacker,
) => {
  const { port } = await start(new TlsState(trusting([old])));
  const names = Array.from({ length: 2_000 }, (_, index) => general.dns(`${index}.clients.example.com`));
  const huge = client(old, { extensions: [extension.subjectAltName(...names)] });
  const junk = Array.from({ length: 60 }, (_, index) => ca({ subject: `junk ${index}`, issuer: old }));
  for (const chain of [[huge], [oldClient, ...junk]] as const) {
    const ms = await fastestOf(3, () => attacker.enters(port, [...chain]));
    assert(ms < STALL_MS, `${ms} ms`);
  }
  assertEquals(await attacker.enters(port, [oldClient]), true);
});
