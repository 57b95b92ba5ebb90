import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { spawn } from "node:child_process";
import { mkdir, rename } from "node:fs/promises";
import process from "node:process";
import test from "node:test";
import { pathToFileURL } from "node:url";
import { loadTlsConfig, parseCertificates, TlsConfig, TlsReloadError, type TlsReloadErrorCode } from "../../mod.ts";
import { issueCa, issueServer } from "../support/certificates.ts";
import { type TestFiles, withFiles } from "../support/files.ts";
import { opensslText } from "../support/openssl.ts";
import { chainSeenByOpenssl } from "../support/peers.ts";
import { NO_SPECIAL_FILES } from "../support/platform.ts";
import { assertRefused, type Refusal } from "../support/refusals.ts";
import { assertHidesSecrets, secret, secretKey } from "../support/secrets.ts";

const PASSPHRASE = secret("correct-horse-battery-staple");

/** A chain with its key, in files of these names. */
async function writeChain(files: TestFiles, certName = "fullchain.pem", keyName = "privkey.pem") {
  const root = await issueCa("root");
  const leaf = await issueServer("leaf", { issuer: await issueCa("intermediate", { issuer: root }) });
  secretKey(leaf.key);
  const cert = leaf.cert + root.cert;
  return {
    cert: await files.write(certName, cert),
    key: await files.write(keyName, leaf.key),
    leaf,
    fingerprints: parseCertificates(cert).map(({ fingerprint256 }) => fingerprint256),
  };
}

test("loadTlsConfig() loads files that openssl s_client then receives whole", () =>
  withFiles(async (files) => {
    const { cert, key, leaf, fingerprints } = await writeChain(files);
    const text = opensslText(["storeutl", cert]);
    const mixed = `\ufeff${text.replace(/\n/g, (_, at) => ["\t\n", "\r\n", "\r"][at % 3]!)}`;
    await files.write("fullchain.pem", mixed);
    await files.write("privkey.pem", `Bag Attributes\r\n${leaf.key.replaceAll("\n", "\r")}`);

    assertEquals(await chainSeenByOpenssl(await loadTlsConfig(cert, key)), fingerprints);
  }));

test("loadTlsConfig() accepts paths and URLs, and the same path twice for a file that holds both", () =>
  withFiles(async (files) => {
    const { cert, key, leaf, fingerprints } = await writeChain(files, "a chain ü.pem", "a key #1.pem");
    const both = await files.write("both.pem", leaf.key + leaf.cert);
    const chainOf = async (certPath: string | URL, keyPath: string | URL) =>
      (await loadTlsConfig(certPath, keyPath)).chain.map(({ fingerprint256 }) => fingerprint256);
    assertEquals(await chainOf(cert, key), fingerprints);
    assertEquals(await chainOf(pathToFileURL(cert), pathToFileURL(key)), fingerprints);
    assertEquals(await chainOf(both, both), fingerprints.slice(0, 2));
    assertEquals(await chainOf(both, pathToFileURL(both)), fingerprints.slice(0, 2));
    assertEquals(await chainOf(pathToFileURL(both), both), fingerprints.slice(0, 2));
  }));

test("loadTlsConfig() passes on its options", () =>
  withFiles(async (files) => {
    const { cert, leaf } = await writeChain(files);
    const encrypted = opensslText(`pkcs8 -topk8 -in FILE -passout pass:${PASSPHRASE}`, leaf.key);
    const key = await files.write("encrypted.pem", encrypted);
    const [one, two] = [await issueCa("one"), await issueCa("two")];
    const ca = pathToFileURL(await files.write("ca.pem", one.cert + two.cert));
    const config = await loadTlsConfig(cert, key, {
      passphrase: PASSPHRASE,
      alpnProtocols: ["h2", "http/1.1"],
      minVersion: "TLSv1.3",
      clientAuth: { ca, mode: "required" },
    });
    const { alpnProtocols, minVersion, clientAuth } = config.toJSON();
    assertEquals([alpnProtocols, minVersion, clientAuth?.mode], [["h2", "http/1.1"], "TLSv1.3", "required"]);
    assertEquals(clientAuth?.ca.map(({ subject }) => subject), ["CN=one", "CN=two"]);
    assertHidesSecrets(config);
  }));

for (const mode of ["required", "optional"] as const) {
  test(`loadTlsConfig() proves a config with client certificates, ${mode}, again and again`, () =>
    withFiles(async (files) => {
      const { cert, key } = await writeChain(files);
      const ca = await files.write("ca.pem", (await issueCa("clients")).cert);
      for (let round = 0; round < 20; round++) await loadTlsConfig(cert, key, { clientAuth: { ca, mode } });
    }));
}

test("loadTlsConfig() loads many configs at once", () =>
  withFiles(async (files) => {
    const { cert, key, fingerprints } = await writeChain(files);
    const configs = await Promise.all(Array.from({ length: 20 }, () => loadTlsConfig(cert, key)));
    for (const { leaf } of configs) assertEquals(leaf.fingerprint256, fingerprints[0]);
  }));

test("loadTlsConfig() loads an expired certificate, and one that is not yet valid", () =>
  withFiles(async (files) => {
    const DAY_MS = 86_400_000;
    const at = (days: number) => new Date(Date.now() + days * DAY_MS);
    for (const [notBefore, notAfter] of [[at(-2), at(-1)], [at(1), at(2)]] as const) {
      const issued = await issueServer("dated", { notBefore, notAfter });
      const [cert, key] = [await files.write("cert.pem", issued.cert), await files.write("key.pem", issued.key)];
      assert(!(await loadTlsConfig(cert, key)).leaf.isValidAt());
    }
  }));

/** Makes the files of a case, and gives what loadTlsConfig() is called with and what it must say. */
type Case = (files: TestFiles) => Promise<
  { readonly args: Parameters<typeof loadTlsConfig>; readonly expected: Refusal }
>;

/** A case in which one of the three files holds something else. */
function spoilt(
  which: "cert" | "key" | "ca",
  content: (chain: { cert: string; key: string }) => string,
  line?: number,
): Case {
  return async (files) => {
    const { cert, key, leaf } = await writeChain(files);
    const path = await files.write("spoilt.pem", content(leaf));
    const ca = which === "ca" ? path : await files.write("ca.pem", (await issueCa("clients")).cert);
    const paths = { cert, key, ca, [which]: path };
    return {
      args: [paths.cert, paths.key, { clientAuth: { ca: paths.ca, mode: "required" } }],
      expected: { path, line },
    };
  };
}

/** A case in which one of the three paths leads to no file of ours. */
function elsewhere(which: "cert" | "key" | "ca", make: (path: string) => unknown): Case {
  return async (files) => {
    const { cert, key } = await writeChain(files);
    const path = files.path("elsewhere");
    await make(path);
    const paths = { cert, key, ca: cert, [which]: path };
    return { args: [paths.cert, paths.key, { clientAuth: { ca: paths.ca, mode: "required" } }], expected: { path } };
  };
}

const encrypt = (key: string) => opensslText(`pkcs8 -topk8 -in FILE -passout pass:${PASSPHRASE}`, key);
const damaged = (text: string) => text.replace(/\n[^-]{4}/, "\n****");
const CASES: Partial<Record<TlsReloadErrorCode, Record<string, Case>>> = {
  FILE_NOT_FOUND: {
    "no certificate file": elsewhere("cert", () => {}),
    "no key file": elsewhere("key", () => {}),
    "no file of authorities": elsewhere("ca", () => {}),
  },
  FILE_UNREADABLE: {
    "a directory": elsewhere("cert", (path) => mkdir(path)),
    ...(!NO_SPECIAL_FILES && {
      "a device": async (files: TestFiles) => {
        const { cert } = await writeChain(files);
        return { args: [cert, "/dev/zero"], expected: { path: "/dev/zero" } };
      },
    }),
  },
  FILE_TOO_LARGE: { "a large file": spoilt("ca", () => "x".repeat(1024 * 1024 + 1)) },
  PEM_INVALID: {
    "a damaged certificate": spoilt("cert", ({ cert }) => damaged(cert), 2),
    "a damaged key": spoilt("key", ({ key }) => damaged(key), 2),
    "a half-written key": spoilt("key", ({ key }) => key.slice(0, 150), 1),
    "damaged authorities": spoilt("ca", ({ cert }) => damaged(cert), 2),
    "a certificate in UTF-16": spoilt("cert", ({ cert }) => [...cert].join("\0")),
  },
  NO_CERTIFICATE: {
    "an empty file": spoilt("cert", () => ""),
    "a key for a certificate": spoilt("cert", ({ key }) => key),
    "a key for authorities": spoilt("ca", ({ key }) => key),
  },
  CERTIFICATE_INVALID: {
    "a key that is labelled a certificate": spoilt(
      "cert",
      ({ key }) => key.replaceAll("PRIVATE KEY", "CERTIFICATE"),
      1,
    ),
  },
  NO_PRIVATE_KEY: { "a certificate for a key": spoilt("key", ({ cert }) => cert) },
  MULTIPLE_PRIVATE_KEYS: { "a key twice": spoilt("key", ({ key }) => key + key, 1) },
  KEY_UNSUPPORTED: {
    "a key of another kind": spoilt("key", () => secret(opensslText("genpkey -algorithm X25519")), 1),
    "an unknown encryption": spoilt(
      "key",
      ({ key }) => opensslText(`pkcs8 -topk8 -v2 camellia-256-cbc -in FILE -passout pass:${PASSPHRASE}`, key),
      1,
    ),
  },
  KEY_ENCRYPTED: { "an encrypted key": spoilt("key", ({ key }) => encrypt(key), 1) },
  PASSPHRASE_WRONG: {
    "a wrong passphrase": async (files) => {
      const { args: [cert, key], expected } = await spoilt("key", ({ key }) => encrypt(key), 1)(files);
      return { args: [cert, key, { passphrase: `${PASSPHRASE}!` }], expected };
    },
  },
  KEY_MISMATCH: {
    "the key of another certificate": async (files) => {
      const { cert } = await writeChain(files);
      const { key } = await issueServer("other");
      return { args: [cert, await files.write("other.pem", secretKey(key))], expected: { path: cert } };
    },
  },
};

for (const [code, cases] of Object.entries(CASES)) {
  for (const [what, make] of Object.entries(cases)) {
    test(`loadTlsConfig() fails with ${code} for ${what}`, () =>
      withFiles(async (files) => {
        const { args, expected } = await make(files);
        if (code === "KEY_UNSUPPORTED") args[2] = { passphrase: PASSPHRASE };
        await assertRefused(() => loadTlsConfig(...args), code as TlsReloadErrorCode, expected);
      }));
  }
}

/** A name for every host of a large network. */
const MANY_NAMES = `[req]
distinguished_name = name
[name]
[x]
subjectAltName = ${Array.from({ length: 3000 }, (_, index) => `DNS:host-${index}.example.test`).join()}`;

// Every runtime takes it without a word, and no client takes a chain of more than 100 KiB.
test("loadTlsConfig() fails with CONFIG_UNUSABLE if the proof fails", () =>
  withFiles(async (files) => {
    const key = secretKey(opensslText("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"));
    const leaf = opensslText(
      "req -x509 -new -key FILE -subj /CN=x -days 1 -config CONFIG -extensions x",
      key,
      MANY_NAMES,
    );
    const cert = leaf + leaf;
    const [certPath, keyPath] = [await files.write("cert.pem", cert), await files.write("key.pem", key)];
    assertEquals(new TlsConfig({ cert, key }).leaf.dnsNames.length, 3000);
    const message = /^Cannot use TLS config: no handshake succeeds with it$/;
    const error = await assertRefused(() => loadTlsConfig(certPath, keyPath), "CONFIG_UNUSABLE", { message });
    assertInstanceOf(error.cause, Error);
  }));

test("loadTlsConfig() fails with KEY_UNSUPPORTED for a key that is too short for TLS", () =>
  withFiles(async (files) => {
    const key = secretKey(opensslText("genrsa 512"));
    const cert = opensslText("req -x509 -new -key FILE -subj /CN=x -days 1", key);
    const [certPath, keyPath] = [await files.write("cert.pem", cert), await files.write("key.pem", key)];
    const error = await assertRejects(() => loadTlsConfig(certPath, keyPath), TlsReloadError);
    assertEquals([error.code, error.path], ["KEY_UNSUPPORTED", keyPath]);
    assertHidesSecrets(error);
  }));

test("loadTlsConfig() reads a file that holds both once, so that a renewal cannot happen in between", () =>
  withFiles(async (files) => {
    const [one, two] = [await issueServer("one"), await issueServer("two")];
    const path = files.path("both.pem");
    const renew = async ({ cert, key }: { cert: string; key: string }) =>
      await rename(await files.write("next.pem", cert + key), path);
    await renew(one);
    let running = true;
    const renewals = (async () => {
      while (running) for (const each of [two, one]) await renew(each);
    })();
    try {
      for (let round = 0; round < 50; round++) await loadTlsConfig(path, path);
    } finally {
      running = false;
      await renewals;
    }
  }));

test("loadTlsConfig() refuses a wrong option before it reads a file", async () => {
  const missing = "missing.pem";
  const clientAuth = { ca: missing, mode: "always" as "required" };
  await assertRejects(() => loadTlsConfig(missing, missing, { clientAuth }), TypeError, "'clientAuth.mode' must be");
});

test("loadTlsConfig() reports a wrong option as a TypeError", () =>
  withFiles(async (files) => {
    const { cert, key } = await writeChain(files);
    await assertRejects(() => loadTlsConfig(cert, key, { minVersion: "TLSv1" as "TLSv1.2" }), TypeError);
    await assertRejects(() => loadTlsConfig(new URL("https://example.test/"), key), TypeError);
  }));

const MOD = new URL("../../mod.ts", import.meta.url).href;

/** Runs a program on this runtime, and gives its output. */
async function output(args: readonly string[]): Promise<string> {
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NO_COLOR: "1" },
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => text += chunk);
  await new Promise((resolve) => child.once("close", resolve));
  return text;
}

test("console.log() shows no secret of a config, a state or an error", () =>
  withFiles(async (files) => {
    const { cert, key, leaf } = await writeChain(files);
    const encrypted = await files.write("encrypted.pem", encrypt(leaf.key));
    const program = `
      import { loadTlsConfig, TlsState } from ${JSON.stringify(MOD)};
      const [cert, key, encrypted] = ${JSON.stringify([cert, key, encrypted])};
      const config = await loadTlsConfig(cert, key);
      const state = new TlsState(config);
      console.log(config, state, state.tls, state.acceptor(), { a: { b: [config, state.tls] } });
      console.dir(state, { depth: null, showHidden: true });
      console.table([config]);
      for (const passphrase of [undefined, ${JSON.stringify(PASSPHRASE + "!")}]) {
        await loadTlsConfig(cert, encrypted, { passphrase }).catch((error) => {
          console.log(error);
          console.error(error.stack, error.cause);
        });
      }
      console.log("END");
    `;
    const file = await files.write("program.mjs", program);
    const shown = await output(process.versions["deno"] ? ["run", "-A", file] : [file]);
    for (const expected of ["CN=leaf", "KEY_ENCRYPTED", "PASSPHRASE_WRONG", "[private key]", "END"]) {
      assert(shown.includes(expected), `${expected} is missing in: ${shown}`);
    }
    // The certificates of state.tls may be seen, and with them the public half of the key.
    assertHidesSecrets(shown.replace(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g, ""));
  }));

test("loadTlsConfig() proves a config also where a flag of Node forbids TLS 1.3", {
  skip: process.release.name === "node" && !process.versions["bun"] && !process.versions["deno"]
    ? false
    : "only Node has this flag",
}, () =>
  withFiles(async (files) => {
    const { cert, key } = await writeChain(files);
    const program = `
      import { loadTlsConfig } from ${JSON.stringify(MOD)};
      for (const mode of [undefined, "optional", "required"]) {
        const clientAuth = mode && { mode, ca: ${JSON.stringify(cert)} };
        console.log((await loadTlsConfig(...${JSON.stringify([cert, key])}, { clientAuth })).leaf.subject);
      }
    `;
    const file = await files.write("program.mjs", program);
    const args = ["--tls-max-v1.2", "--disable-warning=ExperimentalWarning", file];
    assertEquals(await output(args), "CN=leaf\n".repeat(3));
  }));

const NEEDS_PERMISSIONS = { skip: process.versions["deno"] ? false : "only Deno has permissions to ask for" };

/** Runs a program on Deno with these permissions and no others. */
function runOnDeno(files: TestFiles, permissions: readonly string[], program: string): Promise<string> {
  return files.write("program.mjs", program).then((file) => {
    return output(["run", "--no-prompt", "--no-config", "--no-lock", ...permissions, file]);
  });
}

test("importing mod.ts needs no permission", NEEDS_PERMISSIONS, () =>
  withFiles(async (files) => {
    const program = `const { TlsConfig } = await import(${JSON.stringify(MOD)}); console.log(typeof TlsConfig);`;
    assertEquals(await runOnDeno(files, [], program), "function\n");
  }));

test(
  "loadTlsConfig() needs permission to read its files, and no other",
  NEEDS_PERMISSIONS,
  () =>
    withFiles(async (files) => {
      const { cert, key } = await writeChain(files);
      const ca = await files.write("ca.pem", (await issueCa("clients")).cert);
      const program = `
      import { loadTlsConfig } from ${JSON.stringify(MOD)};
      const [cert, key, ca] = ${JSON.stringify([cert, key, ca])};
      await loadTlsConfig(cert, key, { clientAuth: { ca, mode: "required" } }).then(
        (config) => console.log(config.leaf.subject),
        (error) => console.log(error.code, error.path, error.message),
      );
    `;
      assertEquals(await runOnDeno(files, [`--allow-read=${[cert, key, ca].join()}`], program), "CN=leaf\n");
      for (const [missing, granted] of [[cert, [key, ca]], [key, [cert, ca]], [ca, [cert, key]]] as const) {
        const said = await runOnDeno(files, [`--allow-read=${granted.join()}`], program);
        assertEquals(said, `FILE_UNREADABLE ${missing} Cannot read "${missing}": Deno needs --allow-read=${missing}\n`);
      }
    }),
);

/** How long an attempt takes, and how long the event loop stood still at most meanwhile. */
async function observed(attempt: () => Promise<unknown>): Promise<{ totalMs: number; stallMs: number }> {
  const start = performance.now();
  let [last, stallMs] = [start, 0];
  const look = () => {
    stallMs = Math.max(stallMs, performance.now() - last);
    last = performance.now();
  };
  const timer = setInterval(look, 1);
  await attempt().finally(() => clearInterval(timer));
  look();
  return { totalMs: last - start, stallMs };
}

for (const options of ["-iter 1000000", "-scrypt -scrypt_N 16384 -scrypt_r 8 -scrypt_p 8"]) {
  test(`loadTlsConfig() does not block the event loop while it decrypts a key made with ${options}`, () =>
    withFiles(async (files) => {
      const { cert, key } = await issueServer("encrypted");
      const certPath = await files.write("cert.pem", cert);
      const encrypted = opensslText(`pkcs8 -topk8 ${options} -in FILE -passout pass:correct-horse`, secretKey(key));
      const keyPath = await files.write("key.pem", `# a comment\n${encrypted}`);
      const { totalMs, stallMs } = await observed(async () => {
        const config = await loadTlsConfig(certPath, keyPath, { passphrase: "correct-horse" });
        assertEquals(config.leaf.subject, "CN=encrypted");
      });
      assert(totalMs > 100 && stallMs < totalMs / 2, `${stallMs} ms of ${totalMs} ms`);
      const wrong = await observed(() =>
        assertRefused(() => loadTlsConfig(certPath, keyPath, { passphrase: "wrong-horse" }), "PASSPHRASE_WRONG", {
          path: keyPath,
          line: 2,
        })
      );
      assert(wrong.stallMs < wrong.totalMs / 2, `${wrong.stallMs} ms of ${wrong.totalMs} ms`);
    }));
}

test("loadTlsConfig() names file and line of an encrypted key that it decrypts but cannot use", () =>
  withFiles(async (files) => {
    const { cert, key } = await issueServer("encrypted");
    const certPath = await files.write("cert.pem", cert);
    const other = opensslText("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1");
    const encrypt = (pem: string) => opensslText("pkcs8 -topk8 -iter 1 -in FILE -passout pass:correct-horse", pem);
    const options = { passphrase: "correct-horse" };
    const keyPath = await files.write("key.pem", `\n\n${encrypt(other)}`);
    const expected = { path: keyPath, line: 3, message: /key\.pem" at line 3: .*: secp256k1$/ };
    await assertRefused(() => loadTlsConfig(certPath, keyPath, options), "KEY_UNSUPPORTED", expected);
    const both = await files.write("both.pem", cert + encrypt(key));
    assertEquals((await loadTlsConfig(both, both, options)).leaf.subject, "CN=encrypted");
    const line = cert.trimEnd().split("\n").length + 1;
    await assertRefused(() => loadTlsConfig(both, both), "KEY_ENCRYPTED", { path: both, line });
  }));
