import { assert, assertEquals } from "@std/assert";
import { Agent, get, type RequestOptions } from "node:https";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { connect, type SecureContext } from "node:tls";
import { rollingAgent } from "../../examples/client_agent.ts";
import { rollingHttpClient } from "../../examples/client_deno.ts";
import { rollingDispatcher } from "../../examples/client_undici.ts";
import { TlsState } from "../../mod.ts";
import { clientOptions } from "../../src/node.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { opened, test } from "../support/closing_tests.ts";
import { type IdentityServer, identityServer } from "../support/identity_server.ts";
import { configOf } from "../support/peers.ts";
import { until } from "../support/tcp.ts";

const { deno, bun } = process.versions;
const SWAP_EVERY_MS = 50;
const SWAPS = 40;
const PAUSE_MS = 5;
/** What a busy machine manages, too. */
const MIN_REQUESTS = 10;
const ca = await issueCa("CA");
const [serverIdentity, ...clients] = await Promise.all([
  issueServer("server", { issuer: ca }),
  ...Array.from({ length: SWAPS + 1 }, (_, index) => issueClient(`client ${index}`, { issuer: ca })),
]);
const configs = clients.map((client) => configOf(client));
const subjects = clients.map((_, index) => `CN=client ${index}`);

/** Makes a request, and resolves to the subject that the server saw. */
type Ask = () => Promise<string>;

/** Every way to make requests on this runtime. */
async function clientsOf(state: TlsState, url: string): Promise<Record<string, Ask>> {
  const tls = clientOptions(state, { ca: ca.cert });
  const [lasting, fresh] = [true, false].map((keepAlive) => new Agent({ keepAlive }));
  return {
    "tls.connect()": () => askBySocket(url, tls),
    "tls.connect() with a context": () => askBySocket(url, { secureContext: tls.secureContext }),
    "https.get() that keeps connections": () => ask(url, { ...tls, agent: lasting }),
    "https.get() that keeps sessions": () => ask(url, { ...tls, agent: fresh }),
    // Bun reads the options at each call, and keeps connections apart by them.
    ...(bun && { "fetch() of Bun": async () => await (await fetch(url, { tls } as RequestInit)).text() }),
    ...await poolsOf(state, url),
  };
}

/** The agents and pools of the examples. */
async function poolsOf(state: TlsState, url: string): Promise<Record<string, Ask>> {
  const agent = rollingAgent(state, ca.cert);
  const kinds: Record<string, Ask> = { "https.Agent": () => ask(url, { agent }) };
  if (!bun) { // which puts its own fetch() in place of undici
    const undici = await import("undici");
    const dispatcher = rollingDispatcher(state, ca.cert);
    kinds["undici"] = async () => await (await undici.fetch(url, { dispatcher })).text();
  }
  if (deno) {
    const client = rollingHttpClient(state, ca.cert);
    kinds["fetch() of Deno"] = async () => await (await fetch(url, { client: client() })).text();
  }
  return kinds;
}

function ask(url: string, options: RequestOptions & { readonly secureContext?: SecureContext }): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, options, (response) => {
      let text = "";
      response.on("data", (chunk) => text += chunk).on("end", () => resolve(text)).on("error", reject);
    }).on("error", reject);
  });
}

function askBySocket(url: string, options: object): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(
      { host: "127.0.0.1", port: Number(new URL(url).port), ...options },
      () => socket.write("GET / HTTP/1.1\r\n\r\n"),
    );
    socket.on("error", reject).once("data", (chunk) => {
      socket.destroy();
      resolve(String(chunk).split("\r\n\r\n")[1]!);
    });
  });
}

/** What one kind of client has seen. */
class Report {
  requests = 0;
  readonly failures: string[] = [];
  readonly old: string[] = [];
}

/** Makes requests until the last swap, and compares what the server saw with what was current when they began. */
async function requestOften(state: TlsState, ask: Ask): Promise<Report> {
  const report = new Report();
  while (state.generation < SWAPS || report.requests < MIN_REQUESTS) {
    const since = state.generation;
    try {
      const seen = subjects.indexOf(await ask());
      if (seen < since || seen > state.generation) report.old.push(`${seen} instead of ${since}`);
    } catch (error) {
      report.failures.push(String(error));
    }
    report.requests++;
    await delay(PAUSE_MS);
  }
  return report;
}

async function swapOften(state: TlsState): Promise<void> {
  for (const config of configs.slice(1)) {
    await delay(SWAP_EVERY_MS);
    state.swap(config);
  }
}

/** A server that clients must show a certificate to, and the state of clients that do. */
async function serverAndClient(): Promise<{ server: IdentityServer; state: TlsState; url: string }> {
  const clientAuth = { ca: ca.cert, mode: "required" } as const;
  const server = await identityServer(new TlsState(configOf(serverIdentity!, { clientAuth })));
  opened.add(server);
  return { server, state: new TlsState(configs[0]!), url: `https://127.0.0.1:${server.port}/` };
}

test(`clients whose certificate is replaced ${SWAPS} times fail no request, and never use an old one`, async () => {
  const { state, url } = await serverAndClient();
  const kinds = Object.entries(await clientsOf(state, url));
  const [reports] = await Promise.all([
    Promise.all(kinds.map(async ([kind, ask]) => ({ kind, ...await requestOften(state, ask) }))),
    swapOften(state),
  ]);
  for (const { kind, failures, old } of reports) assertEquals({ failures, old }, { failures: [], old: [] }, kind);
});

test("agents and pools close idle connections of the previous certificate at a swap, and busy ones after their requests", async () => {
  const { server, state, url } = await serverAndClient();
  const kinds = Object.values(await poolsOf(state, url));
  const connections = [...kinds, ...kinds];
  await Promise.all(connections.map((ask) => ask()));
  assertEquals(server.connected(), connections.map(() => subjects[0]));
  const busy = kinds.map((ask) => ask());
  state.swap(configs[1]!);
  assertEquals(await Promise.all(busy), kinds.map(() => subjects[0]));
  await until(() => server.connected().length === 0);
  for (const ask of kinds) assertEquals(await ask(), subjects[1]);
});

/** `node:tls` of Deno does not give sessions to agents. */
const NO_SESSIONS = deno !== undefined && "https.Agent of Deno resumes no session";

test("an https.Agent resumes the sessions of the current certificate only", { skip: NO_SESSIONS }, async () => {
  const { server, state, url } = await serverAndClient();
  const tls = clientOptions(state, { ca: ca.cert });
  const agent = new Agent({ keepAlive: false });
  const isResumed = async () => {
    const { resumed } = server.counts;
    const subject = await ask(url, { ...tls, agent });
    return [subject, server.counts.resumed > resumed];
  };
  assertEquals([await isResumed(), await isResumed()], [[subjects[0], false], [subjects[0], true]]);
  state.swap(configs[1]!);
  assertEquals([await isResumed(), await isResumed()], [[subjects[1], false], [subjects[1], true]]);
});

/** Why the documentation says so: this test fails once Node has mended it. */
const OTHER_CACHE = Boolean(deno ?? bun) && "only Node resumes sessions of another context";

test("an https.Agent of Node that gets a context without `cert` resumes as the previous client", {
  skip: OTHER_CACHE,
}, async () => {
  const { state, url } = await serverAndClient();
  const tls = clientOptions(state, { ca: ca.cert });
  const agent = new Agent({ keepAlive: false });
  const { cert, secureContext } = tls;
  assertEquals(await ask(url, { secureContext, agent }), subjects[0]);
  state.swap(configs[1]!);
  assertEquals(await ask(url, { secureContext: tls.secureContext, agent }), subjects[0]);
  assertEquals(await ask(url, { secureContext: tls.secureContext, cert: tls.cert, agent }), subjects[1]);
  assert(cert !== tls.cert);
});
