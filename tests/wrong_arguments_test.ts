import { assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import process from "node:process";
import { PassThrough } from "node:stream";
import test from "node:test";
import { createServer } from "node:tls";
import {
  certificatesIn,
  encodePem,
  parseCertificates,
  parsePem,
  parsePrivateKey,
  proveTlsConfig,
  TlsConfig,
  TlsReloadError,
  TlsState,
} from "../mod.ts";
import { serve as serveBun, tlsOptions } from "../src/bun.ts";
import { listenTls, listenTlsOptions, serve as serveDeno } from "../src/deno.ts";
import { attach, clientOptions, secureContext } from "../src/node.ts";
import { Reloader } from "../src/reload.ts";
import { statusHandler } from "../src/status.ts";
import { issueServer } from "./support/certificates.ts";
import { configOf } from "./support/peers.ts";
import { assertHidesSecrets, secretKey } from "./support/secrets.ts";

const issued = await issueServer("wrong arguments");
const { cert } = issued;
const key = secretKey(issued.key);
const config = configOf(issued);
const state = new TlsState(config);
const load = () => Promise.resolve(config);
const reloader = new Reloader(state, load);
const fetch = () => new Response();

// deno-lint-ignore no-explicit-any -- what callers without types pass
type Any = any;

/** Calls with an argument of the wrong type or an unknown option, and what their errors say. */
const CALLS: Readonly<Record<string, readonly [call: () => unknown, message: string]>> = {
  "TlsConfig without PEM": [
    () => new TlsConfig({ cert: 3, key } as Any),
    "Cannot read PEM: the input must be text, its bytes, or a file that was read: a number",
  ],
  "parsePem()": [
    () => parsePem(undefined as Any),
    "Cannot read PEM: the input must be text, its bytes, or a file that was read: undefined",
  ],
  "parseCertificates()": [
    () => parseCertificates(null as Any),
    "Cannot read PEM: the input must be text, its bytes, or a file that was read: null",
  ],
  "parsePrivateKey()": [
    () => parsePrivateKey(key, { passphrase: "x" } as Any),
    "Cannot call parsePrivateKey: 'passphrase' must be a string: an object",
  ],
  "certifiedKeyFor()": [
    () => config.certifiedKeyFor(3 as Any),
    "Cannot call certifiedKeyFor(): 'name' must be a string: a number",
  ],
  "certificatesIn()": [
    () => certificatesIn("folder", { onError: "x" } as Any),
    "Cannot call certificatesIn: 'onError' must be a function: a string",
  ],
  "proveTlsConfig()": [
    () => proveTlsConfig(load() as Any),
    "Cannot prove TLS config: the configuration must be a TlsConfig: a Promise, which must be awaited",
  ],
  "secureContext()": [
    () => secureContext(state as Any),
    "Cannot make a context: the configuration must be a TlsConfig: a TlsState",
  ],
  "listenTlsOptions()": [
    () => listenTlsOptions(state as Any),
    "Cannot serve: the configuration must be a TlsConfig: a TlsState",
  ],
  "tlsOptions()": [
    () => tlsOptions(state as Any),
    "Cannot give TLS options: the configuration must be a TlsConfig: a TlsState",
  ],
  "TlsState with drainTimeoutMs": [
    () => new TlsState(config, { drainTimeoutMs: 1 } as Any),
    "Unknown option 'drainTimeoutMs' of TlsState: use drain",
  ],
  "TlsState with a key in place of a number": [
    () => new TlsState(config, { maxContexts: key } as Any),
    "Cannot make TlsState: 'maxContexts' must be a positive integer: a string",
  ],
  "drain with a key in place of a number": [
    () => new TlsState(config, { drain: { spreadMs: key } } as Any),
    "Cannot drain: 'spreadMs' must be up to 2 ** 31 - 1 milliseconds: a string",
  ],
  "TlsState with a wrong allowClient": [
    () => new TlsState(config, { allowClient: true } as Any),
    "Cannot call TlsState: 'allowClient' must be a function: a boolean",
  ],
  "answerAlpnChallenge()": [
    () => state.answerAlpnChallenge(3 as Any, { cert, key }),
    "Cannot call answerAlpnChallenge(): 'name' must be a string: a number",
  ],
  "accept() with a wrong signal": [
    () => state.acceptor().accept(new PassThrough(), { signal: "x" } as Any),
    "Cannot call accept(): 'signal' must be an AbortSignal: a string",
  ],
  "accept() with a wrong noDelay": [
    () => state.acceptor().accept(new PassThrough(), { noDelay: "no" } as Any),
    "Cannot call accept(): 'noDelay' must be a boolean: a string",
  ],
  "accept() with a wrong onClientHello": [
    () => state.acceptor().accept(new PassThrough(), { onClientHello: "x" } as Any),
    "Cannot call accept(): 'onClientHello' must be a function: a string",
  ],
  "attach()": [
    () => attach(state, createServer(), { noDelay: "no" } as Any),
    "Cannot call attach: 'noDelay' must be a boolean: a string",
  ],
  "Reloader with a configuration": [
    () => new Reloader(config as Any, load),
    "Cannot make Reloader: 'state' must be a TlsState: a TlsConfig",
  ],
  "Reloader with a text": [
    () => new Reloader(state, key as Any),
    "Cannot call Reloader: 'load' must be a function: a string",
  ],
  "Reloader with a wrong logger": [
    () => new Reloader(state, load, { logger: "text" } as Any),
    "Cannot call Reloader: 'logger' must have the methods debug, info, warn, error: a string",
  ],
  "Reloader with a wrong signal": [
    () => new Reloader(state, load, { signal: "SIGHUP" } as Any),
    "Cannot call Reloader: 'signal' must be an AbortSignal: a string",
  ],
  "Reloader with a misspelt expectUnused": [
    () => new Reloader(state, load, { expectUnused: { within: 1 } } as Any),
    "Unknown option 'within' of expectUnused of Reloader: use withinMs",
  ],
  "Reloader with a key in place of a level": [
    () => new Reloader(state, load, { expiryAlarms: { remainingMs: [key] } } as Any),
    "Cannot set expiry alarms: each level must be a number from 0: a string",
  ],
  "Reloader with misspelt expiryAlarms": [
    () => new Reloader(state, load, { expiryAlarms: { remainingShare: [0.5] } } as Any),
    "Unknown option 'remainingShare' of expiryAlarms of Reloader: use remainingShares",
  ],
  "encodePem()": [
    () => encodePem(key as Any),
    "Cannot call encodePem: 'label' must be a string: undefined",
  ],
  "Reloader.reload()": [
    () => reloader.reload({ forced: true } as Any),
    "Unknown option 'forced' of Reloader.reload: use force",
  ],
  "Reloader.watch()": [
    () => reloader.watch("a.pem" as Any),
    "Cannot watch files: 'paths' must be a list of at least one path: a string",
  ],
  "Reloader.onSignal()": [
    () => reloader.onSignal(1 as Any),
    "Cannot call Reloader.onSignal: 'signal' must be a string: a number",
  ],
  "Reloader.every()": [
    () => reloader.every(key as Any),
    "Cannot wait: 'intervalMs' must be up to 2 ** 31 - 1 milliseconds, or Infinity: a string",
  ],
  "Reloader.follow()": [
    () => reloader.follow([] as Any),
    "Cannot call Reloader.follow: 'subscribe' must be a function: an array",
  ],
  "statusHandler()": [
    () => statusHandler(state as Any),
    "Cannot call statusHandler: 'source.status' must be a function: undefined",
  ],
};

/** Of functions that check first whether they run on Deno. */
const DENO_CALLS: typeof CALLS = {
  "listenTls() with drainTimeoutMs": [
    () => listenTls(state, { port: 0, drainTimeoutMs: 1 } as Any),
    "Unknown option 'drainTimeoutMs' of listenTls: use drain of TlsState",
  ],
  "listenTls() with a misspelt option": [
    () => listenTls(state, { port: 0, hostnam: "localhost" } as Any),
    "Unknown option 'hostnam' of listenTls: use hostname",
  ],
  "listenTls() with a key in place of a mechanism": [
    () => listenTls(state, { port: 0, mechanism: key } as Any),
    'Cannot serve: \'mechanism\' must be "handoff" or "front": a string',
  ],
  "listenTls() with a key in place of a hostname": [
    () => listenTls(state, { port: 0, hostname: key }),
    "Cannot call listenTls: 'hostname' must be a name or an address: a string",
  ],
  "listenTls() without a port": [
    () => listenTls(state, {} as Any),
    "Cannot call listenTls: 'port' must be a number: undefined",
  ],
  "clientOptions() with what reloadTls() returns": [
    () => clientOptions({ state } as Any),
    "Cannot make client options: 'state' must be a TlsState: an object; pass its 'state'",
  ],
  "clientOptions() with the state of what was not awaited": [
    () => clientOptions((load() as Any).state),
    "Cannot make client options: 'state' must be a TlsState: undefined; is reloadTls() awaited?",
  ],
  "clientOptions() with a promise": [
    () => clientOptions(Promise.resolve(state) as Any),
    "Cannot make client options: 'state' must be a TlsState: a Promise, which must be awaited",
  ],
  "Reloader with the state of another copy of this module": [
    () => new Reloader(new (class TlsState {})() as Any, load),
    "Cannot make Reloader: 'state' must be a TlsState: a TlsState of another copy of this module",
  ],
  "listenTls() with swapped arguments": [
    () => listenTls({ port: 0 } as Any, state as Any),
    "Cannot listen: 'state' must be a TlsState: an object",
  ],
  "serve() of ./deno with a handler among its options": [
    () => serveDeno(state, { handler: fetch } as Any, undefined as Any),
    "Unknown option 'handler' of serve: use the third argument",
  ],
  "serve() of ./deno without a handler": [
    () => serveDeno(state, { port: 0 }, undefined as Any),
    "Cannot call serve: 'handler' must be a function: undefined",
  ],
  "serve() of ./deno with a certificate": [
    () => serveDeno(state, { port: 0, cert } as Any, fetch),
    "Unknown option 'cert' of serve: use the options of reloadTls() or TlsConfig",
  ],
  "serve() of ./deno with a wrong callback": [
    () => serveDeno(state, { port: 0, onTlsError: "x" } as Any, fetch),
    "Cannot call serve: 'onTlsError' must be a function: a string",
  ],
  "serve() of ./deno with a configuration": [
    () => serveDeno(config as Any, { port: 0 }, fetch),
    "Cannot serve: 'state' must be a TlsState: a TlsConfig",
  ],
};

const BUN_CALLS: typeof CALLS = {
  "serve() of ./bun with drainTimeoutMs": [
    () => serveBun(state, { port: 0, drainTimeoutMs: 1, fetch }),
    "Unknown option 'drainTimeoutMs' of serve: use drain of TlsState",
  ],
  "serve() of ./bun with a key in place of a hostname": [
    () => serveBun(state, { port: 0, hostname: key, fetch }),
    "Cannot call serve: 'hostname' must be a name or an address: a string",
  ],
  "serve() of ./bun without options": [
    () => serveBun(state, undefined as Any),
    "Cannot call serve: its options must be an object: undefined",
  ],
  "serve() of ./bun with a wrong callback": [
    () => serveBun(state, { port: 0, onTlsError: "x", fetch } as Any),
    "Cannot call serve: 'onTlsError' must be a function: a string",
  ],
  "serve() of ./bun with a configuration": [
    () => serveBun(config as Any, { port: 0, fetch }),
    "Cannot serve: 'state' must be a TlsState: a TlsConfig",
  ],
};

const { deno, bun } = process.versions;

for (
  const [calls, skip] of [[CALLS, false], [DENO_CALLS, !deno && "needs Deno"], [
    BUN_CALLS,
    !bun && "needs Bun",
  ]] as const
) {
  for (const [name, [call, message]] of Object.entries(calls)) {
    test(`a TypeError names what is wrong, and shows no secret: ${name}`, { skip }, async () => {
      const error = await (async () => await call())().then(() => undefined, (error: unknown) => error);
      assertInstanceOf(error, TypeError);
      assertEquals(error.message, message);
      assertHidesSecrets(error);
    });
  }
}

test("Reloader.onSignal() shows no secret that takes the place of a signal", () => {
  const error = assertThrows(() => reloader.onSignal(key as NodeJS.Signals), TlsReloadError);
  assertEquals(error.code, "UNSUPPORTED");
  assertHidesSecrets(error);
});
