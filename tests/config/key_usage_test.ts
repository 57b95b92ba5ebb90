import { assert, assertEquals, assertThrows } from "@std/assert";
import { createServer, type Server } from "node:tls";
import process from "node:process";
import test from "node:test";
import { loadTlsConfig, proveTlsConfig, TlsConfig, TlsReloadError, TlsState } from "../../mod.ts";
import { isRefusalOfKeyUsage } from "../../src/config/key_usage.ts";
import { makeLeaf } from "../support/chains.ts";
import { withFiles } from "../support/files.ts";
import { dial, portOf } from "../support/peers.ts";
import { rsaKey } from "../support/made_certificates.ts";

const KEY_ENCIPHERMENT = 0x20;
const leaf = makeLeaf(undefined, { keyUsage: KEY_ENCIPHERMENT, key: rsaKey() });
const key = leaf.key.privateKey.export({ type: "pkcs8", format: "pem" }) as string;

test("loadTlsConfig() loads a certificate whose keyUsage lacks digitalSignature, on every runtime", async () => {
  await withFiles(async (files) => {
    const config = await loadTlsConfig(await files.write("cert.pem", leaf.pem), await files.write("key.pem", key));
    assertEquals(new TlsState(config).current().leaf.dnsNames, ["www.example.com"]);
  });
});

test("proveTlsConfig() proves such a certificate beside others", async () => {
  const good = makeLeaf(undefined);
  const goodKey = good.key.privateKey.export({ type: "pkcs8", format: "pem" }) as string;
  await proveTlsConfig(
    new TlsConfig({
      certifiedKeys: [{ cert: good.pem, key: goodKey }, { cert: leaf.pem, key }],
      minVersion: "TLSv1.3",
    }),
  );
});

test("TlsConfig takes such a certificate for ECDSA, or names its key usage where the runtime refuses it: Bun does", () => {
  const ecdsa = makeLeaf(undefined, { keyUsage: KEY_ENCIPHERMENT });
  const make = () =>
    new TlsConfig({ cert: ecdsa.pem, key: ecdsa.key.privateKey.export({ type: "pkcs8", format: "pem" }) });
  if (!process.versions["bun"]) return void assertEquals(make().leaf.dnsNames, ["www.example.com"]);
  const { code, message } = assertThrows(make, TlsReloadError);
  assertEquals(code, "CONFIG_UNUSABLE");
  assert(message.endsWith("the key usage of its certificate lacks digitalSignature"), message);
});

/** The canary of the code by which the proof knows that the client of Bun refuses the certificate (Bun 1.4.5). */
test("a client of this runtime connects to such a server, or refuses with ERR_SSL_KEY_USAGE_BIT_INCORRECT on Bun", async () => {
  const server: Server = createServer({ cert: leaf.pem, key });
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const outcome = await dial(portOf(server)).then((socket) => {
      socket.destroy();
      return "connected";
    }, (error) => isRefusalOfKeyUsage(error) ? "refused" : error);
    assertEquals(outcome, process.versions["bun"] ? "refused" : "connected");
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
});
