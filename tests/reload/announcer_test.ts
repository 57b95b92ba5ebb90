import { assert, assertEquals, assertMatch } from "@std/assert";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import process from "node:process";
import test from "node:test";
import { type TlsConfig, TlsState } from "../../mod.ts";
import { type Logger, Reloader } from "../../src/reload.ts";
import { issueServer } from "../support/certificates.ts";
import { configOf } from "../support/peers.ts";
import { assertHidesSecrets, secretKey } from "../support/secrets.ts";
import { nextEvent } from "./rotating_files.ts";

const HOUR_MS = 3_600_000;
const at = (hours: number) => new Date(Date.now() + hours * HOUR_MS);
const [first, second] = await Promise.all([issueServer("first"), issueServer("second")]);
const ahead = await issueServer("ahead", { notBefore: at(1), notAfter: at(2) });
const old = await issueServer("old", { notBefore: at(-100), notAfter: at(1) });

/** A logger that keeps its lines. */
function memoryLogger() {
  const lines: string[] = [];
  const log = (level: string) => (...args: unknown[]) => {
    assertEquals(args.length, 1);
    lines.push(`${level}: ${args[0]}`);
  };
  const logger: Logger = { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") };
  return { logger, lines };
}

function reloaderOf(logger?: Logger) {
  const source = { load: (): Promise<TlsConfig> => Promise.resolve(configOf(first)) };
  const state = new TlsState(configOf(first));
  const reloader = new Reloader(state, () => source.load(), { logger });
  const offer = (config: TlsConfig) => {
    source.load = () => Promise.resolve(config);
    return reloader.reload();
  };
  const fail = (error: unknown) => {
    source.load = () => Promise.reject(error);
    return reloader.reload();
  };
  return { state, reloader, offer, fail };
}

test("Reloader logs one line for each event, with its fields", async () => {
  const { logger, lines } = memoryLogger();
  const { state, reloader, offer, fail } = reloaderOf(logger);
  await offer(configOf(first));
  await offer(configOf(second));
  await offer(configOf(ahead));
  await offer(configOf(second));
  await fail(Object.assign(new Error('two\nlines, 100%s {braces} and "quotes"'), { code: "ENOTDIR" }));
  await fail(undefined);
  const disconnected = nextEvent(reloader, "disconnect");
  reloader.follow(async function* () {});
  await disconnected;
  const expiring = nextEvent(reloader, "expiring");
  state.swap(configOf(old));
  await expiring;
  await reloader.close();
  const shown = lines.filter((line) => !line.includes("error=undefined"));
  const date = String.raw`\d{4}-\d\d-\d\dT[\d:.]+Z`;
  const expected = [
    `debug: tls-reload unchanged fingerprint256=${first.fingerprint256}`,
    `info: tls-reload swap names=localhost,127.0.0.1 fingerprint256=${second.fingerprint256} notAfter=${date} ` +
    String.raw`previousNotAfter=${date} issuersAdded="CN=[\w ]+" issuersRemoved="CN=[\w ]+"`,
    `warn: tls-reload pending fingerprint256=${ahead.fingerprint256} validFrom=${date}`,
    `debug: tls-reload unchanged fingerprint256=${second.fingerprint256}`,
    String.raw`error: tls-reload reject code=ENOTDIR error="two\\nlines, 100_s _braces_ and \\"quotes\\""`,
    String.raw`warn: tls-reload disconnect error="the stream has ended" retryMs=\d+`,
    `warn: tls-reload expiring level=\\d message="The certificate for localhost, 127\\.0\\.0\\.1 expires in .*"`,
  ];
  for (const [index, pattern] of expected.entries()) assertMatch(shown[index]!, new RegExp(`^${pattern}$`));
  secretKey(first.key);
  secretKey(second.key);
  assertHidesSecrets(lines.join("\n"));
});

test("Reloader does its work whatever the logger throws, and emits no process warning where there is one", async () => {
  const warnings: unknown[] = [];
  const onWarning = (warning: Error) => warnings.push(warning.message);
  process.on("warning", onWarning);
  const throws = () => {
    throw new Error("disk full");
  };
  const { state, reloader, offer, fail } = reloaderOf({ debug: throws, info: throws, warn: throws, error: throws });
  assertEquals((await fail(new Error("logged, not warned"))).outcome, "rejected");
  assertEquals((await offer(configOf(second))).outcome, "swapped");
  assertEquals(state.generation, 1);
  await new Promise((resolve) => setImmediate(resolve));
  process.off("warning", onWarning);
  assert(!warnings.includes("logged, not warned"));
  await reloader.close();
});

test("Reloader takes console for a logger", async () => {
  const { reloader } = reloaderOf(console);
  assertEquals((await reloader.reload()).outcome, "unchanged");
  await reloader.close();
});

test("Reloader publishes each event to its diagnostics channel", async () => {
  const published: string[] = [];
  const listeners = ["swap", "reject", "unchanged", "pending", "disconnect", "expiring"].map((type) => {
    const listener = (message: unknown, name: string | symbol) => {
      const { reloader, detail } = message as { reloader: Reloader; detail: unknown };
      assert(reloader instanceof Reloader && detail !== undefined);
      published.push(String(name));
    };
    subscribe(`tls-reload:${type}`, listener);
    return () => unsubscribe(`tls-reload:${type}`, listener);
  });
  const { reloader, offer, fail, state } = reloaderOf();
  for (const type of ["reject", "expiring"]) reloader.addEventListener(type, (event) => event.preventDefault());
  await offer(configOf(first));
  await offer(configOf(ahead));
  await offer(configOf(second));
  await fail(new Error("no"));
  const disconnected = nextEvent(reloader, "disconnect");
  reloader.follow(async function* () {});
  await disconnected;
  const expiring = nextEvent(reloader, "expiring");
  state.swap(configOf(old));
  await expiring;
  await reloader.close();
  for (const end of listeners) end();
  const names = ["unchanged", "pending", "swap", "reject", "disconnect", "expiring"];
  assertEquals([...new Set(published)], names.map((name) => `tls-reload:${name}`));
});
