import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { once } from "node:events";
import process from "node:process";
import { duplexPair } from "node:stream";
import test from "node:test";
import { createServer, type Server } from "node:tls";
import { proveTlsConfig, type TlsConfig, type TlsConfigInit, TlsReloadError, TlsState } from "../../mod.ts";
import { encodeClientHello } from "../../src/config/offered_hello.ts";
import { forbiddenOffers, requireOptionsHonored } from "../../src/config/option_proof.ts";
import { namedGroups, suitesOf } from "../../src/config/suites_and_groups.ts";
import { serverOptions } from "../../src/config/server_options.ts";
import { type Issued, issueServer } from "../support/certificates.ts";
import { configOf, echoServer, OpensslClient } from "../support/peers.ts";

const optionsOf = (config: TlsConfig) => serverOptions(config, config.certifiedKeys[0]!);

const { bun, deno } = process.versions as { bun?: string; deno?: string };
const ecdsa = await issueServer("ecdsa");
const rsa = await issueServer("rsa", { algorithm: "RSA" });

/** Options, what a runtime does with them, and clients of openssl that get in and that do not. */
interface Case {
  /** An EC key of P-256 by default. A client of TLS 1.2 without this group does not accept its certificate. */
  readonly key?: Issued;
  readonly options: Partial<TlsConfigInit>;
  /** The runtimes that ignore an option, by its name. */
  readonly ignoredBy?: Readonly<Record<string, string | undefined>>;
  readonly enters: readonly string[];
  readonly refused: readonly string[];
}

const GCM_256 = "ECDHE-ECDSA-AES256-GCM-SHA384";
const GCM_128 = "ECDHE-ECDSA-AES128-GCM-SHA256";
const CASES: Record<string, Case> = {
  "TLS 1.2 as the highest version": {
    options: { maxVersion: "TLSv1.2" },
    enters: ["-tls1_2"],
    refused: ["-tls1_3"],
  },
  "TLS 1.3 as the lowest version": {
    options: { minVersion: "TLSv1.3" },
    enters: ["-tls1_3"],
    refused: ["-tls1_2"],
  },
  "one cipher suite of TLS 1.2": {
    options: { ciphers: GCM_256 },
    ignoredBy: { deno },
    enters: [`-tls1_2 -cipher ${GCM_256}`, "-tls1_3"],
    refused: [`-tls1_2 -cipher ${GCM_128}`],
  },
  "cipher suites of both versions": {
    options: { ciphers: `TLS_AES_128_GCM_SHA256:${GCM_128}` },
    ignoredBy: { deno, bun },
    enters: ["-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256", `-tls1_2 -cipher ${GCM_128}`],
    refused: ["-tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384", `-tls1_2 -cipher ${GCM_256}`],
  },
  "one group": {
    key: rsa,
    options: { ecdhCurve: "P-384" },
    ignoredBy: { deno },
    enters: ["-tls1_3 -groups P-384", "-tls1_2 -groups P-384"],
    refused: ["-tls1_3 -groups X25519", "-tls1_2 -cipher ECDHE -groups X25519"],
  },
  "one group of TLS 1.2": {
    options: { maxVersion: "TLSv1.2", ecdhCurve: "P-256" },
    ignoredBy: { deno },
    enters: ["-tls1_2 -groups P-256"],
    refused: ["-tls1_2 -groups X25519"],
  },
  "all of them": {
    options: { maxVersion: "TLSv1.2", ciphers: GCM_128, ecdhCurve: "P-256:X25519" },
    ignoredBy: { deno },
    enters: [`-tls1_2 -cipher ${GCM_128} -groups X25519:P-256`],
    refused: ["-tls1_3", `-tls1_2 -cipher ${GCM_256}`, "-tls1_2 -groups P-384"],
  },
};

for (const [what, { key = ecdsa, options, ignoredBy = {}, enters, refused }] of Object.entries(CASES)) {
  const ignoring = Object.entries(ignoredBy).find(([, version]) => version !== undefined);

  test(`proveTlsConfig() accepts ${what} if the runtime honors it, or throws UNSUPPORTED`, async () => {
    const config = configOf(key, options);
    if (ignoring) {
      const error = await assertRejects(() => proveTlsConfig(config), TlsReloadError);
      assertEquals(error.code, "UNSUPPORTED");
      assertMatch(error.message, /^Cannot use TLS config on \w+ [\d.]+: the runtime ignores '(?:ciphers|ecdhCurve)'/);
      return;
    }
    await proveTlsConfig(config);
    const server = await echoServer(new TlsState(config));
    const client = await OpensslClient.create();
    const enter = async (args: string) => (await client.run(server.port, { args: args.split(" ") })).greeted;
    try {
      for (const args of enters) assertEquals(await enter(args), true, args);
      for (const args of refused) assertEquals(await enter(args), false, args);
    } finally {
      await client[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    }
  });

  test(`requireOptionsHonored() finds a server that ignores ${what}`, async () => {
    const config = configOf(key, options);
    const plain = () => createServer(optionsOf(configOf(key)));
    const error = await assertRejects(() => requireOptionsHonored(plain, config), TlsReloadError);
    assertEquals(error.code, "UNSUPPORTED");
  });
}

test("forbiddenOffers() returns no offer for the default options", () => {
  assertEquals(forbiddenOffers(configOf(ecdsa)), []);
});

test("forbiddenOffers() names each option once for each version that it limits", () => {
  const config = configOf(ecdsa, { ciphers: `${GCM_256}:TLS_AES_128_GCM_SHA256`, ecdhCurve: "X25519" });
  const names = forbiddenOffers(config).map(({ option, offer }) => `${option} ${offer.version}`);
  assertEquals(names, ["ciphers TLSv1.2", "ecdhCurve TLSv1.2", "ciphers TLSv1.3", "ecdhCurve TLSv1.3"]);
});

test("proveTlsConfig() fails with CONFIG_UNUSABLE if no cipher suite fits the key", async () => {
  const config = configOf(rsa, { maxVersion: "TLSv1.2", ciphers: GCM_256 });
  const error = await assertRejects(() => proveTlsConfig(config), TlsReloadError);
  // Deno ignores the suites, so that the handshake succeeds and the option is refused.
  assertEquals(error.code, deno ? "UNSUPPORTED" : "CONFIG_UNUSABLE");
  // With TLS 1.3 the handshake of the proof succeeds, and clients of TLS 1.2 would be left out.
  const mixed = await assertRejects(() => proveTlsConfig(configOf(rsa, { ciphers: GCM_256 })), TlsReloadError);
  assertEquals(mixed.code, deno ? "UNSUPPORTED" : "CONFIG_UNUSABLE");
});

const BAD: Record<string, readonly [options: object, message: string]> = {
  "a highest version below the lowest": [
    { minVersion: "TLSv1.3", maxVersion: "TLSv1.2" },
    "'maxVersion' must not be below 'minVersion': TLSv1.2",
  ],
  "an unknown highest version": [{ maxVersion: "TLSv1.1" }, "'maxVersion' must be TLSv1.2 or TLSv1.3: TLSv1.1"],
  "a cipher string that is not a list of names": [
    { ciphers: "HIGH:!aNULL" },
    "'ciphers' holds a name that is not known: HIGH",
  ],
  "an empty cipher string": [{ ciphers: "" }, "'ciphers' holds a name that is not known: an empty string"],
  "a list of cipher suites": [{ ciphers: [GCM_256] }, "'ciphers' must be names separated by colons: an array"],
  "cipher suites of TLS 1.3 alone while TLS 1.2 is spoken": [
    { ciphers: "TLS_AES_128_GCM_SHA256" },
    "'ciphers' must name a suite of TLS 1.2, or 'minVersion' be TLSv1.3",
  ],
  "an unknown group": [{ ecdhCurve: "X25519:secp112r1" }, "'ecdhCurve' holds a name that is not known: secp112r1"],
};

for (const [what, [options, message]] of Object.entries(BAD)) {
  test(`TlsConfig refuses ${what} with a TypeError`, () => {
    const error = assertThrows(() => configOf(ecdsa, options), TypeError);
    assertEquals(error.message, `Cannot use TLS config: ${message}`);
  });
}

test("TlsConfig refuses options that it does not have and names the one to use", () => {
  for (
    const [options, message] of [
      [{ requestCert: true }, "Unknown option 'requestCert' of TlsConfig: use clientAuth"],
      [{ ALPNProtocols: ["h2"] }, "Unknown option 'ALPNProtocols' of TlsConfig: use alpnProtocols"],
      [{ minVersoin: "TLSv1.3" }, "Unknown option 'minVersoin' of TlsConfig: use minVersion"],
      [{ clientAuth: { ca: "", mode: "required", crls: "" } }, "Unknown option 'crls' of clientAuth: use crl"],
    ] as const
  ) {
    assertEquals(assertThrows(() => configOf(ecdsa, options as object), TypeError).message, message);
  }
});

test("encodeClientHello() makes a message that servers of the runtime answer, for every suite and group they have", async () => {
  const server: Server = createServer({ ...optionsOf(configOf(ecdsa)), handshakeTimeout: -1 });
  const answered: string[] = [];
  for (const [name, group] of namedGroups()) {
    const [near, far] = duplexPair();
    near.on("error", () => {});
    const refused = once(server, "tlsClientError").then(() => undefined);
    server.emit("connection", near);
    far.write(encodeClientHello({ version: "TLSv1.3", suites: suitesOf("TLSv1.3").values(), groups: [group] }));
    const answer = await Promise.race([once(far, "data"), refused]);
    if (answer?.[0][0] === 22) answered.push(name);
    near.destroy();
    far.destroy();
    await refused;
  }
  // P-521 and X25519MLKEM768 are not enabled everywhere.
  for (const name of ["X25519", "P-256", "P-384"]) assertEquals(answered.includes(name), true, name);
});
