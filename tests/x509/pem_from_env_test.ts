import { assert, assertEquals, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { spawnSync } from "node:child_process";
import process from "node:process";
import test from "node:test";
import { encodePem, parsePrivateKey, pemFromEnv, TlsConfig, TlsReloadError } from "../../mod.ts";
import { issueServer } from "../support/certificates.ts";
import { assertRefused } from "../support/refusals.ts";
import { secret } from "../support/secrets.ts";

const PEM = encodePem({ label: "A", der: Buffer.alloc(100, 1) }) + encodePem({ label: "B", der: Buffer.alloc(48, 2) });
const base64 = (text: string) => Buffer.from(text).toString("base64");

const FORMS: Record<string, string> = {
  "as it is": PEM,
  "without a newline at the end": PEM.trimEnd(),
  "newlines written as two characters": PEM.replaceAll("\n", "\\n"),
  "CRLF written as four characters": PEM.replaceAll("\n", "\\r\\n"),
  "CRLF": PEM.replaceAll("\n", "\r\n"),
  "lone CR": PEM.replaceAll("\n", "\r"),
  "double quotes": `"${PEM}"`,
  "single quotes": `'${PEM}'`,
  "quotes around escaped newlines": `"${PEM.replaceAll("\n", "\\n")}"`,
  "quotes and white space": ` "${PEM.replaceAll("\n", "\\n")}" \n`,
  "base64 of the whole": base64(PEM),
  "base64 of the whole in quotes": `'${base64(PEM)}'`,
  "base64 in lines, as the base64 command writes it": base64(PEM).replace(/.{76}/g, "$&\n"),
  "base64 in lines with escaped newlines": base64(PEM).replace(/.{76}/g, "$&\\n"),
  "base64 of CRLF": base64(PEM.replaceAll("\n", "\r\n")),
  "base64 of escaped newlines in quotes": base64(`"${PEM.replaceAll("\n", "\\n")}"`),
};

for (const [what, value] of Object.entries(FORMS)) {
  test(`pemFromEnv() reads PEM with ${what}`, () => assertEquals(pemFromEnv(value), PEM));
}

test("pemFromEnv() reads base64 of DER", async () => {
  const { cert, key } = await issueServer("environment");
  for (const pem of [cert, key]) {
    const bare = pem.replace(/-----.*-----/g, "");
    for (const value of [bare, bare.replaceAll("\n", "")]) assertEquals(pemFromEnv(value), pem);
  }
});

test("pemFromEnv() keeps text around the sections", () => {
  assertEquals(pemFromEnv(`# a comment\\n${PEM.replaceAll("\n", "\\n")}`), `# a comment\n${PEM}`);
});

test("pemFromEnv() refuses values without PEM, and does not quote them", async () => {
  const noPem = /^Cannot read PEM from the environment: it holds no BEGIN line$/;
  const body = secret("MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgxglsdoUIDfkJhEUe");
  for (const value of ["", " ", '""', "hello", body, base64("hello"), "/run/secrets/key.pem"]) {
    await assertRefused(() => pemFromEnv(value), "PEM_INVALID", { message: noPem });
  }
  const cut = PEM.slice(0, -10);
  await assertRefused(() => pemFromEnv(cut.replaceAll("\n", "\\n")), "PEM_INVALID", { line: 6 });
  await assertRefused(() => pemFromEnv(base64(`-----BEGIN PRIVATE KEY-----\n${body}\n`)), "PEM_INVALID", { line: 1 });
});

test("pemFromEnv() takes linear time for white space", () => {
  const start = process.cpuUsage();
  assertThrows(() => pemFromEnv(`A${" ".repeat(200_000)}!`), TlsReloadError);
  const { user } = process.cpuUsage(start);
  assert(user < 1_000_000, `${user} µs`);
});

test("pemFromEnv() throws a TypeError for a variable that is not set", () => {
  for (const value of [undefined, null, 1, Buffer.from(PEM)]) {
    assertThrows(() => pemFromEnv(value as unknown as string), TypeError, "'value' must be a string");
  }
});

test("pemFromEnv() reads the variables of a real process", async () => {
  const { cert, key } = await issueServer("environment");
  const env = { ...process.env, CERT: cert, KEY: `"${key.replaceAll("\n", "\\n")}"`, BASE64: base64(key) };
  const { stdout } = spawnSync("sh", ["-c", 'printf "%s\\0%s\\0%s" "$CERT" "$KEY" "$BASE64"'], { env });
  const [carriedCert, carriedKey, carriedBase64] = stdout.toString().split("\0").map(pemFromEnv);
  assertEquals([carriedCert, carriedKey, carriedBase64], [cert, key, key]);
  assertEquals(new TlsConfig({ cert: carriedCert!, key: carriedKey! }).leaf.subject, "CN=environment");
  assertEquals(parsePrivateKey(carriedBase64!).asymmetricKeyType, "ec");
});
