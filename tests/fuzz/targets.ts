// The rooms that read what others wrote, each behind a function that takes any bytes and throws if the room breaks a
// promise. The coverage-guided and the property-based runs share them.
import { Buffer } from "node:buffer";
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { isDeepStrictEqual } from "node:util";
import { parseCrls } from "../../src/x509/crl.ts";
import { Certificate, parseCertificates } from "../../src/x509/certificate.ts";
import { contentOf, DerTag, readChildren, readDer, readInteger } from "../../src/x509/der.ts";
import { TlsReloadError, type TlsReloadErrorCode } from "../../src/errors.ts";
import { PathCertificate } from "../../src/x509/path_certificate.ts";
import { encodePem, parsePem, type PemSection } from "../../src/x509/pem.ts";
import { parsePrivateKey } from "../../src/x509/private_key.ts";
import { readBundle } from "../../src/roots/bundle.ts";
import type { Roots } from "../../src/roots/root.ts";
import { RootCertStore } from "../../src/roots/store.ts";
import { MAX_HELLO_BYTES, parseClientHello } from "../../src/accept/client_hello.ts";
import { TlsAcceptor } from "../../src/accept/tls_acceptor.ts";
import { TlsConfig } from "../../src/config/tls_config.ts";
import { KEY_LABELS, PASSPHRASE, serverPem } from "./seeds.ts";

/** Takes any bytes; throws if the room breaks a promise. */
export type Target = (input: Uint8Array) => void | Promise<void>;

const IS_NODE = !process.versions["deno"] && !process.versions["bun"];

class Violation extends Error {
  override readonly name = "Violation";
}

function promise(condition: unknown, broken: string, cause?: unknown): asserts condition {
  if (!condition) throw new Violation(broken, { cause });
}

/** What an attempt gives; `undefined` if it was refused as it is documented. */
function attempt<T>(input: Uint8Array, codes: readonly TlsReloadErrorCode[], body: () => T): T | TlsReloadError {
  try {
    return body();
  } catch (error) {
    promise(error instanceof TlsReloadError, `threw something else: ${error}`, error);
    requireError(error, input, codes);
    return error;
  }
}

function requireError(error: TlsReloadError, input: Uint8Array, codes: readonly TlsReloadErrorCode[]): void {
  promise(codes.includes(error.code), `threw ${error.code}`, error);
  promise(/^Cannot /.test(error.message) && error.message.length < 500, `an odd message: ${error.message}`, error);
  promise(error.line === undefined || Number.isInteger(error.line) && error.line > 0, `line ${error.line}`, error);
  requireHidden(error, input);
}

/** How much of an input in a row is a leak. */
const WINDOW = 16;

function requireHidden(error: Error, input: Uint8Array): void {
  const bytes = Buffer.from(input.buffer, input.byteOffset, input.length);
  const forms = [bytes.toString("latin1"), bytes.toString("base64"), bytes.toString("hex")];
  for (let each: unknown = error; each instanceof Error; each = each.cause) {
    // Labels may be quoted, and numbers of algorithms named.
    const said = each.message.replace(/"[A-Z0-9. ]+"| is [\d.]+$/g, "");
    for (let at = 0; at + WINDOW <= said.length; at++) {
      const part = said.slice(at, at + WINDOW);
      promise(/ /.test(part) || !forms.some((form) => form.includes(part)), `the message shows the input: ${part}`);
    }
  }
}

/** What another reader makes of something: `undefined` if it refuses. */
function judged<T>(body: () => T): T | undefined {
  try {
    return body();
  } catch {
    return undefined;
  }
}

/** PEM: whatever has the form of a section is one or an error, and what was read can be written and read again. */
export function pem(input: Uint8Array): void {
  const sections = attempt(input, ["PEM_INVALID"], () => parsePem(input));
  if (sections instanceof TlsReloadError) return;
  const begins = Buffer.from(input).toString("latin1").match(/^[ \t]*-----BEGIN .*-----[ \t]*$/gm) ?? [];
  promise(begins.length <= sections.length, `${begins.length} sections begin, ${sections.length} were read`);
  const content = (section: PemSection) => [section.label, section.headers, Buffer.from(section.der).toString("hex")];
  const again = parsePem(sections.map(encodePem).join(""));
  promise(isDeepStrictEqual(again.map(content), sections.map(content)), "written and read again it is another");
}

/** The reasons to refuse a certificate that a runtime reads: it is not DER, or breaks RFC 5280. */
const NO_CERTIFICATE =
  /^(bytes follow the (?:DER|extensions)|the DER is truncated|a length in the DER|a number in the DER|the DER holds tag|its not(Before|After) is not|a text in its names is not UTF-16)/;

/** DER of a certificate: what we take, the runtime takes, and both read the same. */
export function certificate(input: Uint8Array): void {
  const theirs = judged(() => new X509Certificate(input));
  const ours = attempt(input, ["CERTIFICATE_INVALID"], () => new Certificate(input));
  if (ours instanceof TlsReloadError) {
    const { message } = ours.cause as Error;
    promise(!theirs || NO_CERTIFICATE.test(message), `refused for no known reason: ${message}`, ours);
    return;
  }
  promise(theirs, "the runtime refuses it");
  promise(ours.fingerprint256 === theirs.fingerprint256, "its fingerprint is another");
  promise(Buffer.from(parsePem(ours.pem)[0]!.der).equals(input), "its PEM is of another");
  JSON.stringify(ours);
  ours.isValidAt();
  if (IS_NODE) requireSameFacts(ours, theirs);
}

/** Other runtimes print what they read in forms of their own, some of them ambiguous. */
function requireSameFacts(ours: Certificate, theirs: X509Certificate): void {
  const negative = ours.serialNumber.startsWith("-");
  promise(negative || BigInt(`0x${ours.serialNumber}`) === BigInt(`0x${theirs.serialNumber}`), "another serial number");
  for (const [mine, yours] of [[ours.notBefore, theirs.validFrom], [ours.notAfter, theirs.validTo]] as const) {
    // Without leading zeros a year before 1000 is read as another.
    const isReadable = mine.getUTCFullYear() >= 1000;
    promise(!isReadable || mine.getTime() === Date.parse(yours), `another date: ${mine.getTime()} ${yours}`);
  }
  // OpenSSL gives an extension up for a fault in any name, also of the kinds that we do not read.
  if (theirs.subjectAltName === undefined) return;
  for (const name of ours.dnsNames.filter((name) => /^[a-z0-9]+(\.[a-z0-9]+)*$/.test(name))) {
    promise(theirs.checkHost(name, { subject: "never" }), `not valid for ${name}`);
  }
  for (const address of ours.ipAddresses) promise(theirs.checkIP(address), `not valid for ${address}`);
  // It also reads a list of names whose tag is not that of a SEQUENCE in DER.
  if (judged(() => new PathCertificate(ours.x509.raw).extensions.subjectAltNames) === undefined) return;
  for (const [, name] of theirs.subjectAltName.matchAll(/(?:^|, )DNS:([a-z0-9.*-]+)(?=,|$)/g)) {
    promise(ours.dnsNames.includes(name!), `no word of ${name}`);
  }
}

/** A chain in PEM: all of it or an error. */
export function chain(input: Uint8Array): void {
  const codes = ["PEM_INVALID", "NO_CERTIFICATE", "CERTIFICATE_INVALID"] as const;
  const certificates = attempt(input, codes, () => parseCertificates(input));
  if (certificates instanceof TlsReloadError) return;
  const labelled = parsePem(input).filter(({ label }) => label === "CERTIFICATE");
  promise(certificates.length > 0 && certificates.length === labelled.length, "a certificate was lost");
  const again = parseCertificates(certificates.map(({ pem }) => pem).join(""));
  promise(
    isDeepStrictEqual(again.map(({ pem }) => pem), certificates.map(({ pem }) => pem)),
    "written and read again it is another",
  );
}

const KEY_CODES = [
  "PEM_INVALID",
  "NO_PRIVATE_KEY",
  "MULTIPLE_PRIVATE_KEYS",
  "KEY_UNSUPPORTED",
  "KEY_ENCRYPTED",
  "PASSPHRASE_WRONG",
] as const;
/** What a key may ask of a run, far below what it may ask of a server. */
const MAX_WORK = 5_000n;

/** DER of a key, whose first byte chooses the label. */
export function key(input: Uint8Array): void {
  const [choice = 0, ...rest] = input;
  keyFile(Buffer.from(encodePem({ label: KEY_LABELS[choice % KEY_LABELS.length]!, der: new Uint8Array(rest) })));
}

/** A file with a key: what we take, the runtime takes, and what it takes and we refuse has a reason. */
export function keyFile(input: Uint8Array): void {
  const sections = judged(() => parsePem(input)) ?? [];
  if (sections.some(({ der }) => workOf(der) > MAX_WORK)) return;
  for (const passphrase of [undefined, PASSPHRASE]) {
    const ours = attempt(input, KEY_CODES, () => parsePrivateKey(input, passphrase));
    const keys = sections.filter(({ label }) => label.endsWith("PRIVATE KEY"));
    if (!IS_NODE || keys.length !== 1) continue;
    const theirs = KEY_LABELS.map((label) =>
      judged(() => createPrivateKey({ key: encodePem({ ...keys[0]!, label }), passphrase: passphrase ?? "" }))
    ).find(Boolean);
    if (ours instanceof TlsReloadError) promise(!theirs || hasReason(ours, theirs), `${ours.code} for no reason`, ours);
    // OpenSSL refuses more of what is broken beside the numbers of a key.
    else promise(!theirs || isDeepStrictEqual(secretOf(theirs), secretOf(ours)), "the runtime reads another key");
  }
}

/** Without the public key of an EC file, which OpenSSL believes and we ignore. */
function secretOf(key: KeyObject) {
  const { n, d } = key.export({ format: "jwk" });
  return { n, d };
}

const UNUSABLE = /serve TLS on every runtime: [\w.-]+$|RSA keys may have|EC scalar|more than two primes|name its curve/;

/** What we refuse though OpenSSL takes it: kinds of keys and of encryption that not every runtime has. */
function hasReason({ code, message, cause }: TlsReloadError, theirs: KeyObject): boolean {
  // Of what is decrypted all must be DER, which tells a wrong passphrase; OpenSSL looks at less.
  if (code === "KEY_ENCRYPTED" || code === "PASSPHRASE_WRONG") return true;
  if (code !== "KEY_UNSUPPORTED") return false;
  if (/encryption is not supported/.test(message)) return cause instanceof Error;
  // OpenSSL ignores these in SEC1.
  if (cause instanceof RangeError) {
    return /^(the version of the key|the EC key (has an unknown part|names two curves))/.test(cause.message);
  }
  // Kinds, curves, sizes and scalars that not every runtime takes, which are named.
  return !["rsa", "ec", "ed25519"].includes(theirs.asymmetricKeyType ?? "") || UNUSABLE.test(message);
}

/** The product of the numbers in the derivation of a key. */
function workOf(der: Uint8Array): bigint {
  return judged(() => {
    const [algorithm] = readChildren(readDer(der)[0]);
    const [derivation] = readChildren(readChildren(algorithm)[1]);
    const numbers = readDer(contentOf(readChildren(derivation)[1], DerTag.sequence));
    return numbers.filter(({ tag }) => tag === DerTag.integer).map(readInteger).reduce((a, b) => a * b, 1n);
  }) ?? 0n;
}

/** A bundle of roots: never an exception, nothing that is no certificate, and whatever a strict reader finds. */
export function bundle(input: Uint8Array): void {
  const roots: Roots = new Map();
  const problems: TlsReloadError[] = [];
  const count = readBundle({ path: "roots.pem", bytes: input }, roots, (problem) => problems.push(problem));
  promise(count >= roots.size, `${count} certificates, ${roots.size} of them different`);
  for (const problem of problems) {
    promise(problem instanceof TlsReloadError, `reported something else: ${problem}`, problem);
    requireError(problem, new Uint8Array(), ["PEM_INVALID"]);
  }
  const store = new RootCertStore(roots, [], problems);
  for (const warning of store.warnings) {
    requireError(warning, new Uint8Array(), ["PEM_INVALID", "CERTIFICATE_INVALID"]);
  }
  promise(store.pem.length === store.size && [...store].length <= store.size, "the store holds what it cannot read");
  attempt(new Uint8Array(), ["NATIVE_ROOTS_UNAVAILABLE"], () => store.valid());
  const strict = judged(() => parseCertificates(input)) ?? [];
  for (const { fingerprint256 } of strict) promise(store.has(fingerprint256), "lost what a strict reader finds");
  promise(strict.length === 0 || problems.length === 0, `found fault with sound PEM: ${problems[0]?.message}`);
}

/** The first bytes of a connection: read or refused, and no sooner or later than the bytes tell. */
export function hello(input: Uint8Array): void {
  const whole = outcomeOf(input);
  promise(whole !== undefined || input.length < MAX_HELLO_BYTES, "waits for ever");
  for (let length = 0; length < input.length; length += 1 + (length >> 3)) {
    const part = outcomeOf(input.subarray(0, length));
    // Of several faults another one may be found first.
    const isRefused = typeof part === "string" && typeof whole === "string";
    promise(part === undefined || isRefused || isDeepStrictEqual(part, whole), `${length} bytes tell something else`);
  }
  if (whole === undefined || typeof whole === "string") return;
  const followed = outcomeOf(Buffer.concat([input, Buffer.from("and what follows")]));
  promise(isDeepStrictEqual(followed, whole), "what follows changes it");
  const { serverName = "" } = whole;
  promise(serverName.length <= 255 && serverName === serverName.toLowerCase(), `an odd name: ${serverName}`);
}

/** The hello, or why it is refused. */
function outcomeOf(bytes: Uint8Array): ReturnType<typeof parseClientHello> | string {
  try {
    return parseClientHello(bytes);
  } catch (error) {
    promise(error instanceof RangeError && error.message.length < 100, `threw something else: ${error}`, error);
    return error.message;
  }
}

/** Revocation lists: all or an error, what is listed is found, and whatever is changed loses its signature. */
export function crl(input: Uint8Array): void {
  const lists = attempt(input, ["PEM_INVALID", "CRL_INVALID"], () => parseCrls(input));
  if (lists instanceof TlsReloadError) return;
  promise(lists.length > 0, "an empty list of lists");
  authority ??= parseCertificates(serverPem().cert)[0]!;
  for (const list of lists) {
    promise(list.issuer.length < input.length * 10 && list.size <= input.length / 20, "longer than its input");
    promise(!Number.isNaN(list.thisUpdate.getTime()) && !list.isRevoked(""), "it is no list");
    list.isCurrentAt();
    const outcome = attempt(input, ["CRL_INVALID"], () => list.verify(authority!));
    promise(outcome instanceof TlsReloadError || SIGNED.includes(list.size), "a signature counts for another list");
  }
}

/** Who has signed the seeds; made once. */
let authority: Certificate | undefined;
/** How many entries the signed lists among the seeds have. */
const SIGNED = [0, 2];

/** Where the acceptor is attacked: a server on a unix socket, of which no port is left behind. */
interface Gate {
  readonly path: string;
  /** The key that it serves with. */
  readonly key: string;
  /** Resolves with what becomes of the next connection. */
  next(): Promise<{ readonly socket: Socket; readonly outcome: unknown }>;
  close(): void;
}

let gate: Promise<Gate> | undefined;

async function openGate(): Promise<Gate> {
  const directory = mkdtempSync(join(tmpdir(), "tls-reload-"));
  const path = join(directory, "gate");
  const pem = serverPem();
  const tls = new TlsAcceptor(new TlsConfig(pem));
  const server = createServer((socket) => {
    const outcome = tls.accept(socket, { handshakeTimeoutMs: 60_000 }).catch((error) => error);
    server.emit("attacked", socket, outcome);
  });
  await once(server.listen(path), "listening");
  server.unref();
  return {
    path,
    key: pem.key,
    async next() {
      const [socket, outcome] = await once(server, "attacked");
      return { socket, outcome: await outcome };
    },
    close() {
      server.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/**
 * The first bytes of a client that never gets as far as a handshake: an error that says so, and nothing left open. Of
 * the input the first byte tells how the client goes, the second how many bytes it writes at a time.
 */
export async function acceptor(input: Uint8Array): Promise<void> {
  const { path, key, next } = await (gate ??= openGate());
  const [manner = 0, size = 0] = input;
  const refused = next();
  const client = connect(path).on("error", () => {});
  client.resume();
  const closed = new Promise((resolve) => client.once("close", resolve));
  await once(client, "connect");
  const step = Math.max(size + 1, input.length >> 5);
  for (let at = 2; at < input.length; at += step) {
    await new Promise((resolve) => client.write(input.subarray(at, at + step), resolve));
  }
  if (manner % 2) client.destroy();
  else client.end();
  const { socket, outcome } = await refused;
  promise(outcome instanceof TlsReloadError, `let in, or threw something else: ${outcome}`, outcome);
  requireError(outcome, new Uint8Array(), ["HANDSHAKE_FAILED"]);
  promise(socket.destroyed, "the connection is still open");
  await closed;
  promise(judged(() => parsePrivateKey(key)), "what is loaded next is refused for it");
}

/** Ends what {@linkcode acceptor} has opened. */
export async function closeAcceptor(): Promise<void> {
  (await gate)?.close();
  gate = undefined;
}

/** All of them, by the names of their seeds. */
export const targets: Readonly<
  Record<"pem" | "certificate" | "chain" | "key" | "keyFile" | "bundle" | "crl" | "acceptor" | "hello", Target>
> = { pem, certificate, chain, key, keyFile, bundle, crl, acceptor, hello };
