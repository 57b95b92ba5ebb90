import { assertEquals, assertRejects } from "@std/assert";
import { setTimeout as delay } from "node:timers/promises";
import { createClient } from "redis";
import { rollingPool } from "../../examples/client_postgres.ts";
import { rollingRedis } from "../../examples/client_redis.ts";
import { TlsState } from "../../mod.ts";
import { clientOptions } from "../../src/node.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { opened, test } from "../support/closing_tests.ts";
import { NO_POSTGRES, NO_REDIS, startPostgres, startRedis, USER } from "../support/databases.ts";
import { withFiles } from "../support/files.ts";
import { configOf } from "../support/peers.ts";

const SWAPS = 10;
const SWAP_EVERY_MS = 50;
const CLIENTS = 4;
const [ca, firstClients] = await Promise.all([issueCa("CA"), issueCa("CA of the first client")]);
const server = await issueServer("database", { issuer: ca });
const clients = await Promise.all(
  Array.from({ length: SWAPS + 1 }, (_, index) => issueClient(`client ${index}`, { issuer: ca })),
);
const configs = clients.map((client) => configOf(client));

/** Asks as often as it can from several sides, while the certificate is replaced. */
async function askWhileSwapping(state: TlsState, ask: () => Promise<void>): Promise<void> {
  const askOften = async () => {
    while (state.current() !== configs[SWAPS]) await ask();
  };
  const swapOften = async () => {
    for (const config of configs.slice(1)) {
      await delay(SWAP_EVERY_MS);
      state.swap(config);
    }
  };
  await Promise.all([swapOften(), ...Array.from({ length: CLIENTS }, askOften)]);
}

test("PostgreSQL sees the current certificate in every query of pg, and connections of old ones end", {
  skip: NO_POSTGRES,
}, async () => {
  const engine = await startPostgres({ server, clients: ca.cert });
  const state = new TlsState(configs[0]!);
  const config = { host: "127.0.0.1", port: engine.port, user: USER, database: "postgres", max: 2 };
  const pool = rollingPool(state, ca.cert, config);
  opened.add({ [Symbol.asyncDispose]: () => pool().end() }).add(engine);
  const names = configs.map((_, index) => `/CN=client ${index}`);
  const subject = "SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
  await askWhileSwapping(state, async () => {
    const since = state.generation;
    const { rows: [row] } = await pool().query(subject);
    const seen = names.indexOf(row.client_dn);
    assertEquals([seen >= since, seen <= state.generation], [true, true], `${seen} instead of ${since}`);
  });
  const connected = "SELECT DISTINCT client_dn FROM pg_stat_ssl WHERE client_dn IS NOT NULL";
  while ((await pool().query(connected)).rows.length > 1) await delay(1);
  assertEquals((await pool().query(connected)).rows, [{ client_dn: names.at(-1) }]);
});

test("Redis is asked by the current certificate in every command, and clients of old ones leave", {
  skip: NO_REDIS,
}, () =>
  withFiles(async (files) => {
    const engine = await startRedis({ server, clients: firstClients.cert + ca.cert });
    const state = new TlsState(configOf(await issueClient("first client", { issuer: firstClients })));
    const url = `rediss://127.0.0.1:${engine.port}`;
    const redis = rollingRedis(state, ca.cert, url);
    const socket = { tls: true, ...clientOptions(state, { ca: ca.cert }), reconnectStrategy: false } as const;
    const [admin, refused] = [1, 2].map(() => createClient({ url, socket }).on("error", () => {}));
    opened.add({ [Symbol.asyncDispose]: () => redis().close() });
    opened.add({ [Symbol.asyncDispose]: () => admin!.close() }).add(engine);
    await admin!.connect();
    assertEquals(await redis().ping(), "PONG");

    // From here on Redis refuses new connections of the first client.
    await admin!.configSet("tls-ca-cert-file", await files.write("clients.pem", ca.cert));
    await assertRejects(() => refused!.connect(), Error);
    state.swap(configs[0]!);
    await askWhileSwapping(state, async () => {
      assertEquals(await redis().ping(), "PONG");
    });
    const connected = async () => (await admin!.clientList()).length;
    while (await connected() > 2) await delay(1);
  }));
