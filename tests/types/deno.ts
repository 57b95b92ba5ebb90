// Not run: compiled by Deno against its own types, see tests/types_test.ts.
import type {
  DenoHttpServer,
  DenoListenTlsOptions,
  DenoServeHandler,
  DenoServeHandlerInfo,
  DenoTlsConn,
  DenoTlsListener,
  DenoTlsOptions,
} from "../src/deno.ts";
import type { TlsClientOptions } from "../src/node.ts";

declare const native: { conn: Deno.TlsConn; handler: Deno.ServeHandler<Deno.NetAddr>; listener: Deno.TlsListener };
declare const ours: {
  info: DenoServeHandlerInfo;
  listener: DenoTlsListener;
  server: DenoHttpServer;
  conn: DenoTlsConn;
  options: DenoTlsOptions;
  client: TlsClientOptions;
};

/** A connection of Deno can take the place of ours, so code that is written for ours takes both. */
export const conn: Pick<Deno.TlsConn, keyof DenoTlsConn & keyof Deno.TlsConn> = ours.conn;
/** A handler that is written for Deno.serve fits. */
export const handler: DenoServeHandler = native.handler;
/** What handlers get is what Deno gives them. */
export const info: Deno.ServeHandlerInfo<Deno.NetAddr> = ours.info;
/** The options that `listenTlsOptions()` returns are those of `Deno.listenTls`. */
export const tls: Omit<Deno.TlsCertifiedKeyPem, never> = ours.options;
/** The options of clients are those of `Deno.createHttpClient`, once the key is a text. */
export const client: Parameters<typeof Deno.createHttpClient>[0] = {
  cert: ours.client.cert,
  key: ours.client.key.toString(),
  caCerts: ours.client.ca ?? [],
};
/** The addresses are Deno's. */
export const addresses: Deno.NetAddr[] = [ours.listener.addr, ours.server.addr];
/** Options of Deno.listenTls fit, without certificate and key. */
export const listen: DenoListenTlsOptions = { port: 443, hostname: "0.0.0.0" } satisfies Omit<
  Deno.ListenTlsOptions,
  "cert"
>;
