import { assert, assertEquals, assertThrows } from "@std/assert";
import process from "node:process";
import test from "node:test";
import { TlsReloadError } from "../../mod.ts";
import { listenTlsOptions } from "../../src/deno.ts";
import { issueCa, issueServer } from "../support/certificates.ts";
import { configOf, dial } from "../support/peers.ts";

/** Where to listen, and a time for handshakes that no pause of the machine uses up. */
const LOOPBACK = { hostname: "127.0.0.1", port: 0 };
const isDeno = process.versions["deno"] !== undefined;
/** What needs the native servers of Deno runs on Deno. */
const ON_DENO = { skip: isDeno ? false : "needs Deno" };

test("listenTlsOptions() returns options for Deno.listenTls with a decrypted and hidden key", async () => {
  const issued = await issueServer("options");
  const options = listenTlsOptions(configOf(issued, { alpnProtocols: ["h2"] }));
  assertEquals(Object.keys(options).sort(), ["alpnProtocols", "cert", "key"]);
  assertEquals(options.alpnProtocols, ["h2"]);
  assert(!JSON.stringify(options).includes("BEGIN PRIVATE KEY"));
});

test("listenTlsOptions() refuses client authentication and minVersion, which the native servers of Deno do not have", async () => {
  const issued = await issueServer("options");
  const clientAuth = { ca: (await issueCa("ca")).cert, mode: "required" } as const;
  for (const options of [{ clientAuth }, { minVersion: "TLSv1.3" } as const]) {
    const error = assertThrows(() => listenTlsOptions(configOf(issued, options)), TlsReloadError);
    assertEquals(error.code, "UNSUPPORTED");
  }
});

test("Deno.listenTls() serves with listenTlsOptions()", ON_DENO, async () => {
  const issued = await issueServer("native");
  const listener = Deno.listenTls({ ...LOOPBACK, ...listenTlsOptions(configOf(issued)) });
  const accepted = listener.accept().then((conn) => conn.handshake().then(() => conn.close()));
  const client = await dial(listener.addr.port);
  assertEquals(client.getPeerCertificate().fingerprint256, issued.fingerprint256);
  await accepted;
  client.destroy();
  listener.close();
});
