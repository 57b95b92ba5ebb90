import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { TlsReloadError, TlsState } from "../../mod.ts";
import { issueCa, issueClient, type Issued, issueServer } from "./certificates.ts";
import type { StartServer } from "./client_servers.ts";
import { HttpConnection } from "./http.ts";
import { closed, configOf } from "./peers.ts";
import { until } from "./tcp.ts";

/** Longer than any test, so that what was used once counts as used. */
const DAY_MS = 86_400_000;
/** How long the old authority must have been unused in the end. */
const UNUSED_MS = 50;

/** Client authorities, and a certificate by each for every client. */
export interface RolloverWorld {
  readonly server: Issued;
  readonly authorities: readonly [old: Issued, next: Issued];
  readonly clients: readonly (readonly [old: Issued, next: Issued])[];
}

/** What one rollover came to. */
export interface RolloverReport {
  readonly clients: number;
  /** How often `expectUnused` refused to remove the old authority. */
  readonly refusals: number;
  /** Requests that were answered. */
  readonly answers: number;
  /** What must be zero: connections that ended though they may stay, and clients with another answer than theirs. */
  readonly dropped: number;
  readonly wrong: number;
}

/** Issues the certificates of a rollover. */
export async function issueWorld(count: number): Promise<RolloverWorld> {
  const [old, next] = [await issueCa("old clients"), await issueCa("next clients")];
  const clients = await Promise.all(Array.from({ length: count }, async (_, index) => {
    const keys = await issueClient(`client ${index}`, { issuer: old });
    return [keys, await issueClient(`client ${index}`, { issuer: next, keys: keys.keys })] as const;
  }));
  return { server: await issueServer("server"), authorities: [old, next], clients };
}

/**
 * Moves clients from one authority to another as an operator does: adds the next authority, lets clients move one after
 * the other while all of them keep asking, and removes the old one once `expectUnused` lets go. Then removes it from
 * under clients that have come back to it.
 */
export async function rollOver(start: StartServer, world: RolloverWorld): Promise<RolloverReport> {
  const { clients, authorities: [old, next] } = world;
  const trusting = (...authorities: readonly Issued[]) =>
    configOf(world.server, { clientAuth: { mode: "required", ca: authorities.map(({ cert }) => cert).join("") } });
  // A drain takes longer than the whole: only clients that are refused are disconnected.
  const state = new TlsState(trusting(old), { drain: { spreadMs: 600_000 } });
  const server = await start(state);
  const report = { clients: clients.length, refusals: 0, answers: 0, dropped: 0, wrong: 0 };

  const connect = ({ cert, key }: Issued) => HttpConnection.open(server.port, { cert, key });
  const ask = async (connection: HttpConnection) => {
    const text = await connection.ask("/").then(({ text }) => text, () => undefined);
    if (text === "ok") report.answers++;
    return text === "ok";
  };
  const connected = async (certificate: Issued) => {
    const connection = await connect(certificate);
    if (!await ask(connection)) report.wrong++;
    return connection;
  };
  /** Every client that is let in answers on the connection that it has. */
  const askAll = async (connections: readonly HttpConnection[]) => {
    for (const isAlive of await Promise.all(connections.map(ask))) if (!isAlive) report.dropped++;
  };
  const refuseRemoval = () => {
    const expectUnused = { withinMs: DAY_MS };
    const error = assertThrows(() => state.swap(trusting(next), { expectUnused }), TlsReloadError);
    assertInstanceOf(error, TlsReloadError);
    assertEquals(error.code, "AUTHORITY_IN_USE");
    report.refusals++;
    return error.message;
  };

  const connections = await Promise.all(clients.map(([certificate]) => connected(certificate)));
  state.swap(trusting(old, next), { expectUnused: { withinMs: DAY_MS } });
  await askAll(connections);
  const useOf = ({ fingerprint256 }: Issued) =>
    state.authorities().find((each) => each.fingerprint256 === fingerprint256)!;
  for (const [index, [, certificate]] of clients.entries()) {
    await until(() => useOf(old).liveConnections === clients.length - index);
    const message = refuseRemoval();
    assert(clients.slice(index).some(([{ fingerprint256 }]) => message.includes(fingerprint256)), message);
    connections[index]!.close();
    connections[index] = await connected(certificate);
    if (index % 20 === 19) await askAll(connections);
  }
  await until(() => useOf(old).liveConnections === 0);
  refuseRemoval();
  await until(() => Date.now() - useOf(old).lastUsed!.getTime() >= UNUSED_MS);
  state.swap(trusting(next), { expectUnused: { withinMs: UNUSED_MS } });
  await askAll(connections);
  const [[first]] = clients as [[Issued, Issued]];
  if (await connect(first).then(ask, () => false)) report.wrong++;

  // Clients that come back to the old authority are disconnected at once when it goes, and no others.
  state.swap(trusting(old, next));
  const returned = await Promise.all(
    clients.slice(0, Math.ceil(clients.length / 10)).map(([certificate]) => connected(certificate)),
  );
  state.swap(trusting(next));
  await Promise.all(returned.map(({ socket }) => closed(socket)));
  await askAll(connections);
  for (const connection of [...connections, ...returned]) connection.close();
  await server.close();
  return report;
}
