import { assertEquals } from "@std/assert";
import process from "node:process";
import test from "node:test";
import { TlsState } from "../../mod.ts";
import { serve } from "../../src/bun.ts";
import { issueServer } from "../support/certificates.ts";
import { configOf } from "../support/peers.ts";
import { ON_LINUX } from "../support/ports.ts";

const isBun = process.versions["bun"] !== undefined;
const ON = { handoff: isBun ? ON_LINUX : { skip: "needs Bun" }, front: { skip: isBun ? false : "needs Bun" } };
const LOOPBACK = { hostname: "127.0.0.1", port: 0 };

declare const Bun: { serve(options: object): { stop(closeActiveConnections: boolean): Promise<void> } };

/** Every member of `Bun.Server` in `@types/bun` 1.4.4, and how this server has it. */
const SERVER = {
  stop: "all generations",
  reload: "all generations",
  fetch: "newest generation",
  upgrade: "the generation of the request",
  publish: "all generations",
  subscriberCount: "all generations",
  requestIP: "the generation of the request",
  timeout: "the generation of the request",
  ref: "all generations",
  unref: "all generations",
  closeIdleConnections: "all generations",
  pendingRequests: "all generations",
  pendingWebSockets: "all generations",
  url: "public",
  port: "public",
  hostname: "public",
  protocol: "public",
  development: "newest generation",
  id: "newest generation",
} as const;

for (const mechanism of ["handoff", "front"] as const) {
  test(`serve() has every member of Bun's own server (${mechanism})`, ON[mechanism], async () => {
    const fetch = () => new Response();
    const native = Bun.serve({ ...LOOPBACK, fetch });
    const server = await serve(new TlsState(configOf(await issueServer("surface"))), { ...LOOPBACK, mechanism, fetch });
    const members = [...Object.keys(SERVER), ...Object.getOwnPropertyNames(Object.getPrototypeOf(native))];
    assertEquals(members.filter((name) => name !== "constructor" && !(name in server)), []);
    await server.stop(true);
    await native.stop(true);
  });
}

test("serve() refuses options of Bun.serve that would open another listener", ON.front, async () => {
  const state = new TlsState(configOf(await issueServer("options")));
  const outcomes: unknown[] = [];
  for (const option of [{ tls: {} }, { unix: "socket" }, { id: "id" }, { http3: true }]) {
    const options = { ...LOOPBACK, ...option, fetch: () => new Response() };
    outcomes.push(await serve(state, options).then(() => "served", (error) => error.code ?? error.name));
  }
  assertEquals(outcomes, ["TypeError", "TypeError", "TypeError", "UNSUPPORTED"]);
});
