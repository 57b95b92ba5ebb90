import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import test from "node:test";
import { reloadTls } from "../../src/reload.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { makeCrl } from "../support/crls.ts";
import { dial, echoServer, visit } from "../support/peers.ts";
import { until } from "../support/tcp.ts";

test("reloadTls() swaps when a revocation list changes, and tells of lists and authorities", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
  const path = (name: string) => join(folder, name);
  const [server, authority] = [await issueServer("server"), await issueCa("authority")];
  const [lasting, revoked] = [
    await issueClient("a", { issuer: authority }),
    await issueClient("b", { issuer: authority }),
  ];
  const files = { cert: server.cert, key: server.key, ca: authority.cert, crl: makeCrl(authority) };
  for (const [name, content] of Object.entries(files)) await writeFile(path(name), content);

  const tls = await reloadTls({
    cert: path("cert"),
    key: path("key"),
    clientAuth: { mode: "required", ca: path("ca"), crl: [path("crl")] },
    watch: { pollIntervalMs: 50, settleMs: 20 },
  });
  const echo = await echoServer(tls.state);
  const client = await dial(echo.port, lasting);
  assert((await visit(echo.port, revoked)).greeting);
  const [before] = tls.status().revocationLists;
  const swapped = once(tls.reloader, "swap");
  await writeFile(path("crl"), makeCrl(authority, { revoked: [revoked] }));
  const [{ detail: { changes } }] = await swapped;
  assertEquals((await visit(echo.port, revoked)).greeting, undefined);

  await until(() => tls.status().authorities[0]!.liveConnections === 1);
  const { revocationLists: [list], authorities } = tls.status();
  assertEquals([list!.issuer, list!.size, authorities[0]!.totalConnections], ["CN=authority", 1, 2]);
  const nameOf = ({ issuer, crlNumber, fingerprint256 } = list!) => `${issuer} ${crlNumber ?? fingerprint256}`;
  assertEquals(changes, { revocationLists: { added: [nameOf(list)], removed: [nameOf(before)] } });
  const metrics = tls.reloader.metrics();
  const authorityLabels = `{subject="CN=authority",fingerprint256="${authority.fingerprint256}"}`;
  for (
    const line of [
      `crl_next_update_timestamp_seconds{issuer="CN=authority",fingerprint256="${list!.fingerprint256}"} ` +
      list!.nextUpdate!.getTime() / 1000,
      `authority_connections${authorityLabels} 1`,
      `authority_connections_total${authorityLabels} 2`,
    ]
  ) {
    assert(metrics.includes(`\ntls_reload_${line}\n`), line);
  }

  client.destroy();
  await tls.close();
  await echo[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});
