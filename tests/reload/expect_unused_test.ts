import { assert, assertEquals, assertMatch } from "@std/assert";
import test from "node:test";
import { TlsReloadError } from "../../mod.ts";
import { reloadTls } from "../../src/reload.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { withFiles } from "../support/files.ts";
import { closed, dial, echoServer } from "../support/peers.ts";
import { until } from "../support/tcp.ts";
import { NEVER_MS } from "./rotating_files.ts";

const server = await issueServer("server");
const [old, next] = [await issueCa("old"), await issueCa("next")];
const client = await issueClient("client", { issuer: old });

test("reloadTls() keeps an authority that its file lacks until no client uses it, and retries by itself", async () => {
  await withFiles(async ({ write }) => {
    const ca = await write("ca.pem", old.cert + next.cert);
    const tls = await reloadTls({
      cert: await write("cert.pem", server.cert),
      key: await write("key.pem", server.key),
      clientAuth: { ca, mode: "required" },
      expectUnused: { withinMs: 100 },
      watch: { pollIntervalMs: NEVER_MS, settleMs: 10 },
    });
    const rejects: unknown[] = [];
    tls.reloader.addEventListener("reject", (event) => {
      event.preventDefault();
      rejects.push(event.detail.error);
    });
    const echo = await echoServer(tls.state);
    const connection = await dial(echo.port, client);
    await until(() => tls.state.authorities()[0]!.liveConnections === 1);

    await write("ca.pem", next.cert);
    await until(() => rejects.length > 0);
    const [error] = rejects;
    assert(error instanceof TlsReloadError);
    assertEquals([error.code, tls.state.generation], ["AUTHORITY_IN_USE", 0]);
    assertMatch(error.message, new RegExp(client.fingerprint256));

    connection.end();
    await closed(connection);
    await until(() => tls.state.generation === 1);
    assertEquals(tls.state.current().clientAuth!.ca.map(({ subject }) => subject), ["CN=next"]);
    assertEquals(rejects.length, 1);
    await echo[Symbol.asyncDispose]();
    await tls.close();
  });
});
