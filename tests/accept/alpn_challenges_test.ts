import { assert, assertEquals, assertThrows } from "@std/assert";
import { spawn } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { once } from "node:events";
import test, { afterEach } from "node:test";
import { createServer, type TLSSocket } from "node:tls";
import { attach } from "../../src/node.ts";
import { TlsReloadError, TlsState } from "../../mod.ts";
import { issue, issueCa, type Issued, issueServer } from "../support/certificates.ts";
import { configOf, echoServer, portOf, visit } from "../support/peers.ts";
import { runtimeName } from "../support/runtimes.ts";

const server = await issueServer("server");
const NAME = "challenge.test";
const names = [{ type: "dns", value: NAME }] as const;
const acmeIdentifier = createHash("sha256").update("key authorization").digest();
/** The certificate that an ACME client makes (RFC 8737 section 3). */
const complete = await issue("acme challenge", { names, acmeIdentifier });
/** Deno refuses certificates with a critical extension that it does not know. */
const isRefused = runtimeName().startsWith("deno");
const answer = isRefused ? await issue("answer", { names }) : complete;
const pem = ({ cert, key }: Issued) => ({ cert, key });

interface Validation {
  readonly fingerprint256: string | undefined;
  readonly alpn: string | undefined;
  /** Whether the application has answered. */
  readonly isServed: boolean;
}

/** Validates as a certificate authority does: one handshake, and then an application would answer. */
function validate(port: number, servername = NAME, protocols = "acme-tls/1"): Promise<Validation> {
  const args = ["s_client", "-connect", `127.0.0.1:${port}`, "-servername", servername, "-alpn", protocols];
  const child = spawn("openssl", [...args, "-ign_eof"]);
  let text = "";
  const timer = setTimeout(() => child.kill(), 20_000);
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (part) => {
      text += part;
      if (text.includes("generation 0")) child.kill();
    });
  }
  return new Promise((resolve) => {
    child.once("close", () => {
      clearTimeout(timer);
      const [pem] = /-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/.exec(text) ?? [];
      const fingerprint256 = pem && new X509Certificate(pem).fingerprint256;
      resolve({
        fingerprint256,
        alpn: /^ALPN protocol: (.*)$/m.exec(text)?.[1],
        isServed: text.includes("generation 0"),
      });
    });
  });
}

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each[Symbol.asyncDispose]();
});

async function acceptorOf(state: TlsState) {
  const echo = await echoServer(state);
  open.push(echo);
  return { port: echo.port, codes: () => echo.refused.map(({ code }) => code) };
}

async function attachedOf(state: TlsState) {
  const codes: string[] = [];
  const tls = createServer((secure: TLSSocket) => {
    secure.on("error", () => {}).resume().end("generation 0\n");
  });
  attach(state, tls, { onTlsError: ({ code }) => codes.push(code) });
  tls.on("tlsClientError", () => codes.push("tlsClientError"));
  await once(tls.listen(0, "127.0.0.1"), "listening");
  open.push({ [Symbol.asyncDispose]: () => new Promise((resolve) => tls.close(() => resolve())) });
  return { port: portOf(tls), codes: () => codes };
}

const SERVERS = [
  ["acceptor()", acceptorOf, ["CHALLENGE_ANSWERED"]],
  // Servers of Bun accept outside of JavaScript.
  ...(runtimeName().startsWith("bun") ? [] : [["attach()", attachedOf, [] as string[]] as const]),
] as const;

for (const [kind, start, codes] of SERVERS) {
  test(`TlsState.answerAlpnChallenge() answers on ${kind} until it is disposed of, and never reaches the application`, async () => {
    const state = new TlsState(configOf(server, { alpnProtocols: ["http/1.1"] }));
    const running = await start(state);
    const before = await validate(running.port);
    assert(before.fingerprint256 !== answer.fingerprint256);

    const challenge = state.answerAlpnChallenge("Challenge.TEST.", pem(answer));
    const own = running.codes().length;
    assertEquals(await validate(running.port), {
      fingerprint256: answer.fingerprint256,
      alpn: "acme-tls/1",
      isServed: false,
    });
    assertEquals(running.codes().slice(own), codes);
    // Other clients, also of this name, are served as ever.
    for (const [name, protocols] of [["other.test", "http/1.1"], [NAME, "acme-tls/1,http/1.1"]] as const) {
      const other = await validate(running.port, name, protocols);
      assertEquals(other, { fingerprint256: server.fingerprint256, alpn: "http/1.1", isServed: true });
    }
    assertEquals((await visit(running.port, { servername: NAME })).fingerprint256, server.fingerprint256);

    challenge[Symbol.dispose]();
    assert((await validate(running.port)).fingerprint256 !== answer.fingerprint256);
  });

  test(`TlsState.answerAlpnChallenge() on ${kind} requests no client certificate`, async () => {
    const ca = await issueCa("clients");
    const state = new TlsState(
      configOf(server, { minVersion: "TLSv1.3", clientAuth: { mode: "required", ca: ca.cert } }),
    );
    const { port } = await start(state);
    state.answerAlpnChallenge(NAME, pem(answer));
    assertEquals((await validate(port)).fingerprint256, answer.fingerprint256);
    assertEquals((await visit(port, { servername: NAME })).greeting, undefined);
  });
}

test("TlsState.answerAlpnChallenge() continues after a swap, and a later answer for the name replaces it", async () => {
  const state = new TlsState(configOf(server));
  const { port } = await acceptorOf(state);
  const first = state.answerAlpnChallenge(NAME, pem(answer));
  state.swap(configOf(await issueServer("next")));
  assertEquals((await validate(port)).fingerprint256, answer.fingerprint256);

  const later = await issue("later", { names: [{ type: "dns", value: NAME }] });
  const second = state.answerAlpnChallenge(NAME, pem(later));
  first[Symbol.dispose]();
  assertEquals((await validate(port)).fingerprint256, later.fingerprint256);
  second[Symbol.dispose]();
});

test("TlsState.answerAlpnChallenge() answers for an address, which clients ask for by its reverse name", async () => {
  const state = new TlsState(configOf(server));
  const { port } = await acceptorOf(state);
  const nibbles = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2";
  for (const [address, asked] of [["192.0.2.7", "7.2.0.192.in-addr.arpa"], ["2001:DB8:0::1", `${nibbles}.ip6.arpa`]]) {
    const issued = await issue("address", { names: [{ type: "ip", value: address! }] });
    const challenge = state.answerAlpnChallenge(address!, pem(issued));
    assertEquals((await validate(port, asked)).fingerprint256, issued.fingerprint256);
    challenge[Symbol.dispose]();
  }
});

test("TlsState.answerAlpnChallenge() refuses a certificate of another name", async () => {
  const state = new TlsState(configOf(server));
  const two = await issue("two", { names: [{ type: "dns", value: NAME }, { type: "dns", value: "other.test" }] });
  for (const [name, issued] of [["other.test", answer], [NAME, two]] as const) {
    const error = assertThrows(() => state.answerAlpnChallenge(name, pem(issued)), TlsReloadError);
    assertEquals(error.code, "CONFIG_UNUSABLE");
  }
  assertThrows(
    () => state.answerAlpnChallenge(NAME, { cert: answer.cert, key: server.key }),
    TlsReloadError,
    "matches no",
  );
});

test("TlsState.answerAlpnChallenge() throws UNSUPPORTED if the runtime cannot serve the certificate", async () => {
  const state = new TlsState(configOf(server));
  if (!isRefused) return state.answerAlpnChallenge(NAME, pem(complete))[Symbol.dispose]();
  const error = assertThrows(() => state.answerAlpnChallenge(NAME, pem(complete)), TlsReloadError, "use http-01");
  assertEquals(error.code, "UNSUPPORTED");
  const { port } = await acceptorOf(state);
  assertEquals((await validate(port, NAME, "h2")).fingerprint256, server.fingerprint256);
});

test("TlsState.answerAlpnChallenge() throws UNSUPPORTED if a server of the state cannot answer", () => {
  if (!runtimeName().startsWith("bun")) return;
  const state = new TlsState(configOf(server));
  attach(state, createServer(state.tls));
  const error = assertThrows(() => state.answerAlpnChallenge(NAME, pem(answer)), TlsReloadError, "state.acceptor()");
  assertEquals(error.code, "UNSUPPORTED");
});
