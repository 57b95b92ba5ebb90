import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { existsSync } from "node:fs";
import process from "node:process";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { TlsReloadError, TlsState } from "../../mod.ts";
import { listenTls, serve } from "../../src/deno.ts";
import { type Issued, issueServer } from "../support/certificates.ts";
import { configOf } from "../support/peers.ts";

/** Where to listen, and a time for handshakes that no pause of the machine uses up. */
const LOOPBACK = { hostname: "127.0.0.1", port: 0 };
const PERMISSION_CHILD = fileURLToPath(new URL("permission_child.ts", import.meta.url));
const isDeno = process.versions["deno"] !== undefined;
/** What needs the native servers of Deno runs on Deno. */
const ON_DENO = { skip: isDeno ? false : "needs Deno" };
/** The path of glibc on Debian: Deno grants `--allow-ffi=PATH` for a path alone. */
const LIBC = `/lib/${process.arch === "x64" ? "x86_64" : "aarch64"}-linux-gnu/libc.so.6`;
/** A question would wait for an answer until then. */
const PROMPT_TIMEOUT_MS = 30_000;
/** `script` of util-linux gives a program a terminal. */
const IN_TERMINAL = {
  skip: isDeno && existsSync(LIBC) && existsSync("/usr/bin/script") ? false : "needs Deno, glibc and script",
};

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

/** Asks no question: what is not granted is denied. */
async function listen(kind: "serve" | "listenTls", ...permissions: string[]): Promise<string> {
  return await listenWith({ kind }, permissions);
}

async function listenWith(options: { kind: string; reusePort?: boolean }, permissions: string[]): Promise<string> {
  const init = JSON.stringify({ ...options, first: pemOf(await issueServer("first")) });
  // Not by node:child_process, which hands on the permissions of this process.
  const args = ["run", "--no-prompt", ...permissions, PERMISSION_CHILD, init];
  const { stdout } = await new Deno.Command(Deno.execPath(), { args }).output();
  return new TextDecoder().decode(stdout).trim().replace(/ on Deno [\d.]+/, "");
}

/** Swaps in a terminal, where Deno would ask for what is not granted. */
async function swapInTerminal(kind: "serve" | "listenTls", ...permissions: string[]): Promise<string[]> {
  const [first, second] = [pemOf(await issueServer("first")), pemOf(await issueServer("second"))];
  const env = {
    DENO: Deno.execPath(),
    PERMISSIONS: permissions.join(" "),
    CHILD: PERMISSION_CHILD,
    INIT: JSON.stringify({ kind, first, second }),
    NO_COLOR: "1",
  };
  const args = ["-qec", 'exec "$DENO" run $PERMISSIONS "$CHILD" "$INIT"', "/dev/null"];
  const { stdout } = await new Deno.Command("script", {
    args,
    env,
    stdin: "null",
    signal: AbortSignal.timeout(PROMPT_TIMEOUT_MS),
  }).output();
  return new TextDecoder().decode(stdout).trim().split(/\r?\n/);
}

function pemOf({ cert, key }: Issued): Pick<Issued, "cert" | "key"> {
  return { cert, key };
}

test("serve() and listenTls() share a port by the front where the flag of Deno is missing", ON_DENO, async () => {
  const flags = ["--allow-net", "--allow-ffi"];
  for (const kind of ["serve", "listenTls"]) {
    const options = { kind, reusePort: true };
    assertEquals(await listenWith(options, flags), "front: 'reusePort' needs --unstable-net");
    const reason = await listenWith(options, [...flags, "--unstable-net"]);
    assert(reason !== "" && !reason.includes("--unstable-net"), reason);
  }
});

test("serve() and listenTls() name the permission that is missing", ON_DENO, async () => {
  const missing = (host: string) => `UNSUPPORTED Cannot serve: it needs the permission --allow-net=${host}`;
  const [its, inner] = ["127.0.0.1:0", "127.0.0.1"];
  const byFront = "front: no permission --allow-ffi";
  assertEquals(await listen("listenTls"), missing(its));
  assertEquals(await listen("listenTls", `--allow-net=${its}`), byFront);
  assertEquals(await listen("serve"), missing(its));
  assertEquals(await listen("serve", `--allow-net=${its}`), missing(inner));
  assertEquals(await listen("serve", `--allow-net=${inner}`), byFront);
});

test("serve() and listenTls() choose front or handoff by --allow-ffi, and never ask for it", IN_TERMINAL, async () => {
  const [net, ffi] = ["--allow-net=127.0.0.1", `--allow-ffi=${LIBC}`];
  for (const kind of ["serve", "listenTls"] as const) {
    assertEquals(await swapInTerminal(kind, net), ["front: no permission --allow-ffi", "swapped"]);
    assertEquals(await swapInTerminal(kind, net, "--deny-ffi"), ["front: no permission --allow-ffi", "swapped"]);
    assertEquals(await swapInTerminal(kind, net, ffi), ["handoff: Linux with FFI", "swapped"]);
  }
});
