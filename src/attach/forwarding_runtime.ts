import { createServer as createHttpsServer, Server as HttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { createServer as createTlsServer, type Server } from "node:tls";
import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import { runtimeRevocation } from "../config/runtime_revocation.ts";
import { requireOneKey, type TlsConfig } from "../config/tls_config.ts";
import type { ListenAddress, NativeRuntime } from "../native/native_server.ts";
import { proveServer } from "../native/proof.ts";
import { otherOptions } from "../node_internals/kept_options.ts";
import { hideKey } from "../node_internals/sockets.ts";
import { unsupported } from "../unsupported.ts";
import { requireOneServer } from "./fastify_servers.ts";
import { type Application, type AttachmentContext, ForwardingServer } from "./forwarding_server.ts";

/** Settings of an HTTP server that the application may change while it serves. */
const HTTP_SETTINGS = [
  "headersTimeout",
  "keepAliveTimeout",
  "maxHeadersCount",
  "maxRequestsPerSocket",
  "requestTimeout",
  "timeout",
] as const;

/**
 * Starts servers like that of the user, one for each generation. An `https` server has an `https` server for each;
 * those of `tls` and `http2` get encrypted sockets of `tls` servers, which their own listeners serve.
 */
export class ForwardingRuntime implements NativeRuntime<ForwardingServer> {
  readonly #application: Application;
  /** The error of the server that could not listen: Bun emits it later. */
  #listenError: Promise<unknown> | undefined;

  constructor(application: Application) {
    this.#application = application;
  }

  start(acceptor: TlsAcceptor, { hostname, ...address }: ListenAddress): ForwardingServer {
    const native = hideKey(this.#create(acceptor.config));
    let reportError: (error: unknown) => void = () => {};
    native.on("error", (error) => reportError(error));
    // Without `exclusive`, a worker of `node:cluster` asks its primary process for the socket, and waits for it.
    native.listen({ ...address, exclusive: true, ...(hostname !== undefined && { host: hostname }) });
    const { port } = native.address() as AddressInfo ?? {};
    if (port !== undefined) return new ForwardingServer(native, port, acceptor, this.#application);
    this.#listenError = new Promise((resolve) => reportError = resolve);
    throw new ListenError();
  }

  /** The error of the system, if a server could not listen; else the error itself. */
  async listenErrorOf(error: unknown): Promise<unknown> {
    return error instanceof ListenError ? await this.#listenError : error;
  }

  async prove({ port }: ForwardingServer, acceptor: TlsAcceptor): Promise<void> {
    const { clientAuth, maxVersion } = acceptor.config;
    // In TLS 1.2 a server asks for the client's certificate before the handshake is complete.
    if (maxVersion === "TLSv1.2" && clientAuth?.mode === "required") return;
    await proveServer(port, acceptor);
  }

  requireServable(config: TlsConfig): void {
    const { server, context } = this.#application;
    requireServableLike(server, config, context);
  }

  #create(config: TlsConfig): Server {
    const { server, context: { inherited, handshakeTimeoutMs } } = this.#application;
    const options = {
      ...otherOptions(server),
      ...inherited.with(config),
      ...(handshakeTimeoutMs !== undefined && { handshakeTimeout: handshakeTimeoutMs }),
    };
    if (!(server instanceof HttpsServer)) return createTlsServer(options);
    Object.assign(options, runtimeRevocation(config.clientAuth, "attach to server"));
    const settings = HTTP_SETTINGS.map((name) => [name, server[name]]);
    return Object.assign(createHttpsServer(options), Object.fromEntries(settings));
  }
}

/** A server does not listen. Why is known a turn later. */
class ListenError extends Error {}

/** Throws `UNSUPPORTED` if servers like that of the user cannot serve a configuration. */
export function requireServableLike(
  server: Server,
  config: TlsConfig,
  { hasAllowClient }: Pick<AttachmentContext, "hasAllowClient">,
): void {
  requireOneServer(server);
  requireOneKey(config, "attach to server", "use state.acceptor() with node:http, or serve() of ./bun");
  if (!(server instanceof HttpsServer)) return;
  const refuse = (what: string) => {
    throw unsupported("attach to server", `an https server of Bun ${what}; use state.acceptor() with node:http`);
  };
  if (config.alpnProtocols.some((protocol) => protocol !== "http/1.1")) refuse("speaks no protocol but http/1.1");
  if (config.clientAuth?.mode === "optional") refuse("lets in clients with bad certificates if they are optional");
  if (config.clientAuth && hasAllowClient) refuse("does not show the certificate of a client to allowClient");
  runtimeRevocation(config.clientAuth, "attach to server");
}
