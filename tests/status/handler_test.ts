import { assert, assertEquals, assertMatch } from "@std/assert";
import { execFile, spawnSync } from "node:child_process";
import { createServer } from "node:http";
import test from "node:test";
import { promisify } from "node:util";
import { type TlsConfig, TlsState } from "../../mod.ts";
import { Reloader } from "../../src/reload.ts";
import { statusHandler } from "../../src/status.ts";
import { issueCa, issueServer } from "../support/certificates.ts";
import { makeCrl } from "../support/crls.ts";
import { withFiles } from "../support/files.ts";
import { configOf } from "../support/peers.ts";
import { assertHidesSecrets, secretKey } from "../support/secrets.ts";
import { nextEvent } from "../reload/rotating_files.ts";

const HOUR_MS = 3_600_000;
const at = (hours: number) => new Date(Date.now() + hours * HOUR_MS);
const authority = await issueCa("clients");
const intermediate = await issueCa("intermediate", { issuer: await issueCa("root") });
const [first, second] = await Promise.all(
  ["first", "second"].map((name) => issueServer(name, { issuer: intermediate })),
);
const NO_PROMTOOL = spawnSync("promtool", ["--version"]).status !== 0 && "promtool of Prometheus is not installed";
const NO_CHROMIUM = spawnSync("chromium", ["--version"]).status !== 0 && "chromium is not installed";
const BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

interface DenoServer {
  readonly addr: { readonly port: number };
  shutdown(): Promise<void>;
}
type Handler = (request: Request) => Response;
const { Deno, Bun } = globalThis as {
  Deno?: { serve(options: object, handler: Handler): DenoServer };
  Bun?: { serve(options: { fetch: Handler; port: number; hostname: string }): { port: number; stop(): Promise<void> } };
};

function reloaderOf(config: TlsConfig) {
  const source = { load: (): Promise<TlsConfig> => Promise.resolve(config) };
  const state = new TlsState(config);
  const reloader = new Reloader(state, () => source.load());
  for (const type of ["reject", "expiring"]) reloader.addEventListener(type, (event) => event.preventDefault());
  const handle = statusHandler(reloader);
  const get = (path: string, accept = "") => handle(new Request(`http://localhost${path}`, { headers: { accept } }));
  return { source, state, reloader, handle, get };
}

const configs = [first!, second!].map((issued) => {
  return configOf(issued, { clientAuth: { mode: "required", ca: authority.cert } });
});

/** A reloader of which everything is known: swaps, failures, files and a stream. */
async function busyReloader() {
  const setup = reloaderOf(configs[0]!);
  const { source, reloader } = setup;
  await reloader.reload();
  source.load = () => Promise.resolve(configs[1]!);
  await reloader.reload();
  const disconnected = nextEvent(reloader, "disconnect");
  reloader.follow(async function* () {
    yield await Promise.resolve("changed");
  }, { pollIntervalMs: HOUR_MS });
  await disconnected;
  const looked = nextEvent(reloader, "unchanged");
  await withFiles(async (files) => {
    reloader.watch([await files.write("cert", "")], { pollIntervalMs: HOUR_MS });
    await looked;
  });
  source.load = () => Promise.reject(new Error('"quoted" \\ and\nbroken'));
  await reloader.reload();
  return setup;
}

test("statusHandler() answers with the status as JSON, and with no key byte", async () => {
  const { reloader, state, get } = await busyReloader();
  const response = get("/");
  assertEquals([response.status, response.headers.get("content-type")], [200, "application/json"]);
  assertEquals(response.headers.get("cache-control"), "no-store");
  const text = await response.text();
  const status = JSON.parse(text);
  const { leaf } = state.current();
  assertEquals([status.serialNumber, status.fingerprint256], [leaf.serialNumber, leaf.fingerprint256]);
  assertEquals(status.notAfter, leaf.notAfter.toISOString());
  assertEquals(status.certificates.map(({ role }: { role: string }) => role), [
    "server",
    "intermediate",
    "client authority",
  ]);
  assertEquals(status.reloads, { swapped: 1, unchanged: status.reloads.unchanged, pending: 0, rejected: 1 });
  assertEquals([status.lastError.message, status.inSync], ['"quoted" \\ and\nbroken', false]);
  assertMatch(status.configDigest, /^[0-9a-f]{64}$/);
  for (const { key } of [first!, second!]) secretKey(key);
  assertHidesSecrets([text, await get("/", BROWSER).text(), await get("/metrics").text()]);
  await reloader.close();
});

test("statusHandler() answers a browser with a page, and other clients with JSON", async () => {
  const { reloader, get } = reloaderOf(configs[0]!);
  const types = [
    [BROWSER, "text/html; charset=utf-8"],
    ["", "application/json"],
    ["*/*", "application/json"],
    ["application/json, text/html", "application/json"],
    ["text/html;q=0.5, application/json", "text/html; charset=utf-8"],
  ] as const;
  for (const [accept, type] of types) assertEquals(get("/status", accept).headers.get("content-type"), type, accept);
  const page = get("/", BROWSER);
  assertMatch(page.headers.get("content-security-policy")!, /^default-src 'none'; /);
  const html = await page.text();
  assertMatch(html, /^<!doctype html>\n<html lang="en">/);
  assert(!/<script|<link|<img|src=|href=|https?:/.test(html));
  assert(html.includes("Serving generation 0"));
  assertEquals(html.match(/class="life \w+"/g)?.length, 3);
  await reloader.close();
});

test("statusHandler() says in words what the colours of the page say", async () => {
  const aged = (from: number, to: number) => issueServer("aged", { notBefore: at(from), notAfter: at(to) });
  const cases = [
    [-24, 76, "good", "expires in 3 days"],
    [-90, 9.9, "late", "expires in 9 hours"],
    [-48, -24.5, "bad", "expired 1 day ago"],
    [1.5, 24, "late", "valid in 1 hour"],
  ] as const;
  for (const [from, to, colour, words] of cases) {
    const { reloader, get } = reloaderOf(configOf(await aged(from, to)));
    const html = await get("/", BROWSER).text();
    assert(html.includes(`<span class="${colour}">${words}</span>`), html);
    assert(html.includes(`<div class="life ${colour}"`), html);
    await reloader.close();
  }
});

test("statusHandler() shows revocation lists and who uses which client authority", async () => {
  const crl = makeCrl(authority, { revoked: [first!], thisUpdate: at(-9), nextUpdate: at(1.5) });
  const trusting = (ca: string) => configOf(first!, { clientAuth: { mode: "required", ca, crl } });
  const { state, reloader, get } = reloaderOf(trusting(authority.cert + intermediate.cert));
  state.swap(trusting(authority.cert));
  const html = await get("/", BROWSER).text();
  const [list] = reloader.status().revocationLists;
  assert(html.includes('<b>revocation list</b> CN=clients <span class="late">becomes stale in 1 hour</span>'), html);
  assert(html.includes(`<code>${list!.crlNumber ?? list!.fingerprint256}</code>, 1 revoked</small>`), html);
  assert(html.includes("CN=clients, trusted<"), html);
  assert(html.includes('CN=intermediate, <span class="late">no longer trusted</span>'), html);
  assert(html.includes("0 open, 0 in all"), html);
  await reloader.close();
});

test("statusHandler() warns on the page when a source is disconnected or degraded", async () => {
  const { reloader, get } = reloaderOf(configs[0]!);
  await reloader.reload();
  const warning = "changes may be noticed late or never";
  assert(!(await get("/", BROWSER).text()).includes(warning));
  const disconnected = nextEvent(reloader, "disconnect");
  reloader.follow(async function* () {}, { pollIntervalMs: HOUR_MS });
  await disconnected;
  assert((await get("/", BROWSER).text()).includes(warning));
  await reloader.close();
});

test("statusHandler() shows the pairs of files that could not be loaded", async () => {
  const reloader = new Reloader(new TlsState(configs[0]!), (_current, onPartialFailure) => {
    onPartialFailure(new Error("b.pem is <broken>"));
    return Promise.resolve(configs[0]!);
  });
  reloader.addEventListener("partial", (event) => event.preventDefault());
  await reloader.reload();
  const handle = statusHandler(reloader);
  const get = (path: string) => handle(new Request(`http://localhost${path}`, { headers: { accept: BROWSER } })).text();
  assert((await get("/")).includes('<span class="bad">b.pem is &#60;broken&#62;<br></span>'));
  assertMatch(await get("/metrics"), /^tls_reload_partial_failures 1$/m);
  await reloader.close();
});

test("statusHandler() gives a page that Chromium shows without a complaint", { skip: NO_CHROMIUM }, async () => {
  const { reloader, handle } = await busyReloader();
  await withFiles(async (files) => {
    const server = createServer(async ({ headers: { accept = "" } }, response) => {
      const answer = handle(new Request("http://localhost/", { headers: { accept } }));
      response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text());
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const folder = `--user-data-dir=${files.path("profile")}`;
    const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", folder, "--dump-dom"];
    const { stdout, stderr } = await promisify(execFile)("chromium", [...flags, `http://127.0.0.1:${port}/`]);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    assert(stdout.includes("What is served is not what the source holds"), stdout);
    assertEquals(stdout.match(/<div class="life/g)?.length, 3);
    assertEquals(stderr.match(/:CONSOLE.*/g), null);
  });
  await reloader.close();
});

test("statusHandler() escapes what certificates, paths and errors hold", async () => {
  const attack = `"><script>alert(1)</script><b a='`;
  const evil = await issueServer("evil", { names: [{ type: "dns", value: "<img src=x onerror=alert(1)>.test" }] });
  const { source, reloader, get } = reloaderOf(configOf(evil));
  source.load = () => Promise.reject(new Error(attack));
  await reloader.reload();
  reloader.watch([`/nowhere/${attack}`], { pollIntervalMs: HOUR_MS });
  const html = await get("/", BROWSER).text();
  assert(!/<script|<img|onerror=alert\(1\)>/.test(html.replace(/&#\d+;/g, "")), html);
  assert(html.includes("&#60;script&#62;"));
  for (const line of (await get("/metrics").text()).trimEnd().split("\n")) {
    assertMatch(
      line,
      /^(# (HELP|TYPE) tls_reload_\w+ .+|tls_reload_\w+(\{\w+="(?:[^"\\]|\\.)*"(,\w+="(?:[^"\\]|\\.)*")*\})? -?[\d.]+)$/,
    );
  }
  await reloader.close();
});

test("statusHandler() answers 503 once the certificate has expired, and metrics all the same", async () => {
  const expired = await issueServer("expired", { notBefore: at(-2), notAfter: at(-1) });
  const { reloader, get } = reloaderOf(configOf(expired));
  assertEquals([get("/").status, get("/", BROWSER).status, get("/metrics").status], [503, 503, 200]);
  assert((await get("/", BROWSER).text()).includes("The certificate has expired"));
  await reloader.close();
});

test("statusHandler() refuses methods that change something", async () => {
  const { reloader, handle } = reloaderOf(configs[0]!);
  const answers = ["GET", "HEAD", "POST", "DELETE"].map((method) =>
    handle(new Request("http://localhost/", { method }))
  );
  assertEquals(answers.map(({ status }) => status), [200, 200, 405, 405]);
  assertEquals(answers[2]!.headers.get("allow"), "GET, HEAD");
  await reloader.close();
});

test("statusHandler() gives metrics that promtool accepts", { skip: NO_PROMTOOL }, async () => {
  const { reloader, get } = await busyReloader();
  const response = get("/tls/metrics", BROWSER);
  assertEquals(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  const input = await response.text();
  const { status, stdout, stderr } = spawnSync("promtool", ["check", "metrics"], { input, encoding: "utf8" });
  assertEquals([status, stdout + stderr], [0, ""]);
  await reloader.close();
});

test("statusHandler() works in the server of this runtime, and in node:http by the lines of its documentation", async () => {
  const { reloader, handle } = reloaderOf(configs[0]!);
  const local = { port: 0, hostname: "127.0.0.1" };
  if (Deno) {
    const server = Deno.serve({ ...local, onListen: () => {} }, handle);
    assertEquals((await (await fetch(`http://127.0.0.1:${server.addr.port}/`)).json()).generation, 0);
    await server.shutdown();
  } else if (Bun) {
    const server = Bun.serve({ ...local, fetch: handle });
    assertEquals((await (await fetch(`http://127.0.0.1:${server.port}/`)).json()).generation, 0);
    await server.stop();
  }
  const server = createServer(async ({ url = "/", method = "GET", headers: { accept = "" } }, response) => {
    const answer = handle(new Request(new URL(url, "http://localhost"), { method, headers: { accept } }));
    response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  for (const [path, accept, type] of [["/", BROWSER, /^text\/html/], ["/metrics", "", /^text\/plain/]] as const) {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { accept, connection: "close" } });
    assertMatch(response.headers.get("content-type")!, type);
    assert((await response.text()).length > 100);
  }
  await new Promise((resolve) => server.close(resolve));
  await reloader.close();
});

test("Reloader.status() has digests that are the same for the same configuration, and without the key", () => {
  const again = configOf(first!, { clientAuth: { mode: "required", ca: authority.cert } });
  const twoAuthorities = (ca: string) => configOf(second!, { clientAuth: { mode: "required", ca } });
  const digests = [
    configs[0]!,
    again,
    configs[1]!,
    configOf(first!),
    twoAuthorities(authority.cert + intermediate.cert),
    twoAuthorities(intermediate.cert + authority.cert),
    configOf(second!, { clientAuth: { mode: "optional", ca: authority.cert } }),
  ].map((config) => {
    const reloader = new Reloader(new TlsState(config), () => Promise.resolve(config));
    void reloader.close();
    return reloader.status();
  });
  const [one, same, other, noClients, ab, ba, optional] = digests.map(({ configDigest }) => configDigest);
  assertEquals(one, same);
  assertEquals(new Set([one, other, noClients, ab, ba, optional]).size, 6);
  const trust = digests.map(({ trustDigest }) => trustDigest);
  assertEquals([trust[1], trust[2], trust[5]], [trust[0], trust[0], trust[4]]);
  assertEquals(new Set(trust).size, 4);
});
