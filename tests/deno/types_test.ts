import { assertEquals } from "@std/assert";
import process from "node:process";
import test from "node:test";
import { TlsState } from "../../mod.ts";
import {
  type DenoHttpServer,
  type DenoListenTlsOptions,
  type DenoNetAddr,
  type DenoServeHandler,
  type DenoServeHandlerInfo,
  type DenoServeOptions,
  type DenoTlsConn,
  type DenoTlsListener,
  listenTls,
  serve,
} from "../../src/deno.ts";
import { issueServer } from "../support/certificates.ts";
import { configOf, dial } from "../support/peers.ts";

const ON_DENO = { skip: process.versions["deno"] ? false : "needs Deno" };
const LOOPBACK = { hostname: "127.0.0.1", port: 0 };

/** Fails to compile unless the first type can be used as the second. */
type Assignable<From extends To, To> = From;

/** What this module gives serves where Deno's own is expected. */
export type Given = [
  Assignable<DenoHttpServer, Deno.HttpServer<Deno.NetAddr>>,
  Assignable<DenoTlsConn, Deno.TlsConn>,
  Assignable<DenoServeHandlerInfo, Deno.ServeHandlerInfo<Deno.NetAddr>>,
  Assignable<DenoNetAddr, Deno.NetAddr>,
];

/** What this module takes may be Deno's own. */
export type Taken = [
  // Deno's own type of an address also stands for UDP.
  Assignable<Omit<Deno.TlsConn, "localAddr" | "remoteAddr">, Omit<DenoTlsConn, "localAddr" | "remoteAddr">>,
  Assignable<Deno.ServeHandler<Deno.NetAddr>, DenoServeHandler>,
  Assignable<Omit<Deno.ServeHandlerInfo, "remoteAddr">, Omit<DenoServeHandlerInfo, "remoteAddr">>,
  Assignable<Required<Deno.ServeTcpOptions>, Omit<DenoServeOptions, "hostname">>,
  Assignable<Deno.ListenTlsOptions & { port: number }, Omit<DenoListenTlsOptions, "alpnProtocols">>,
];

/** Every name of Deno's types has a place here; a name that a later version adds makes this fail to compile. */
const HTTP_SERVER: Record<Exclude<keyof Deno.HttpServer, symbol>, "same"> = {
  finished: "same",
  addr: "same",
  ref: "same",
  unref: "same",
  shutdown: "same",
};
const TLS_LISTENER: Record<Exclude<keyof Deno.TlsListener, symbol>, "same"> = {
  accept: "same",
  close: "same",
  addr: "same",
  ref: "same",
  unref: "same",
};
const TLS_CONN: Record<Exclude<keyof Deno.TlsConn, symbol>, "same"> = {
  read: "same",
  write: "same",
  close: "same",
  localAddr: "same",
  remoteAddr: "same",
  closeWrite: "same",
  ref: "same",
  unref: "same",
  readable: "same",
  writable: "same",
  handshake: "same",
};
const OPTIONS: Record<keyof Deno.ServeTcpOptions, "passed on" | "ours"> = {
  signal: "ours",
  onError: "passed on",
  onListen: "ours",
  automaticCompression: "passed on",
  transport: "passed on",
  port: "ours",
  hostname: "ours",
  reusePort: "passed on",
  tcpBacklog: "passed on",
};

for (const mechanism of ["handoff", "front"] as const) {
  test(`serve() and listenTls() have every member of Deno's own servers (${mechanism})`, ON_DENO, async () => {
    const state = new TlsState(configOf(await issueServer("types")));
    const server: DenoHttpServer = await serve(state, { ...LOOPBACK, mechanism }, () => new Response());
    const listener: DenoTlsListener = await listenTls(state, { ...LOOPBACK, mechanism });
    const [conn, client] = await Promise.all([listener.accept(), dial(listener.addr.port)]);
    const missing = (object: object, members: object) => Object.keys(members).filter((name) => !(name in object));
    assertEquals(missing(server, HTTP_SERVER), []);
    assertEquals(missing(listener, TLS_LISTENER), []);
    assertEquals(missing(conn, TLS_CONN), []);
    assertEquals(Object.keys(OPTIONS).length, 9);
    conn.close();
    client.destroy();
    listener.close();
    await server.shutdown();
  });
}
