import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import process from "node:process";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { TlsReloadError, TlsState } from "../../mod.ts";
import { listenTls, serve } from "../../src/deno.ts";
import { issueServer } from "../support/certificates.ts";
import { configOf } from "../support/peers.ts";

/** Where to listen, and a time for handshakes that no pause of the machine uses up. */
const LOOPBACK = { hostname: "127.0.0.1", port: 0 };
const PERMISSION_CHILD = fileURLToPath(new URL("permission_child.ts", import.meta.url));
const isDeno = process.versions["deno"] !== undefined;
/** What needs the native servers of Deno runs on Deno. */
const ON_DENO = { skip: isDeno ? false : "needs Deno" };

async function newState(): Promise<TlsState> {
  return new TlsState(configOf(await issueServer("deno")));
}

test("listenTls() and serve() throw on another runtime an error that names what they need", {
  skip: isDeno && "runs on Deno",
}, async () => {
  const state = await newState();
  for (const start of [() => listenTls(state, LOOPBACK), () => serve(state, LOOPBACK, () => new Response())]) {
    const error = await assertRejects(start, TlsReloadError, "it needs Deno");
    assertEquals(error.code, "UNSUPPORTED");
  }
});

test("serve() and listenTls() reject with the error of the system when the port is taken", ON_DENO, async () => {
  const state = await newState();
  const listener = await listenTls(state, LOOPBACK);
  const { port } = listener.addr;
  for (const start of [() => listenTls(state, { port }), () => serve(state, { port }, () => new Response())]) {
    const error = await start().then(() => undefined, (error) => error);
    assertInstanceOf(error, Error);
    assertEquals((error as NodeJS.ErrnoException).code, "EADDRINUSE");
  }
  listener.close();
});

test("serve() and listenTls() name the permission that is missing", ON_DENO, async () => {
  const { cert, key } = await issueServer("permissions");
  const listen = async (kind: "serve" | "listenTls", ...permissions: string[]) => {
    // Not by node:child_process, which hands on the permissions of this process.
    const args = ["run", "--no-prompt", ...permissions, PERMISSION_CHILD];
    const child = new Deno.Command(Deno.execPath(), { args, stdin: "piped", stdout: "piped" }).spawn();
    await new Response(JSON.stringify({ cert, key, kind, port: 0 })).body!.pipeTo(child.stdin);
    const said = new TextDecoder().decode((await child.output()).stdout);
    return said.trim().replace(/ on Deno [\d.]+/, "");
  };
  const missing = (host: string) => `UNSUPPORTED Cannot serve: it needs the permission --allow-net=${host}`;
  const [its, inner] = ["127.0.0.1:0", "127.0.0.1"];
  assertEquals(await listen("listenTls"), missing(its));
  assertEquals(await listen("listenTls", `--allow-net=${its}`), "listened");
  assertEquals(await listen("serve"), missing(its));
  assertEquals(await listen("serve", `--allow-net=${its}`), missing(inner));
  assertEquals(await listen("serve", `--allow-net=${inner}`), "listened");
});
