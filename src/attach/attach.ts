import { Server as HttpServer } from "node:http";
import { Server as HttpsServer } from "node:https";
import { Server as NetServer } from "node:net";
import { Server } from "node:tls";
import { requireState, TlsState } from "../accept/tls_state.ts";
import { kindOf, requireOptions, requireOptionTypes } from "../arguments.ts";
import { requireMs } from "../durations.ts";
import { acceptsByListener } from "../node_internals/listeners.ts";
import { unsupported } from "../unsupported.ts";
import { AcceptingServer } from "./accepting_server.ts";
import type { Attachment, AttachOptions } from "./attachment.ts";
import { canChangeContext, ContextServer } from "./context_server.ts";
import { warnOfAnotherServer } from "./fastify_servers.ts";
import { exclusionOf, HandoffServer } from "./handoff_server.ts";

const OPTION_NAMES = ["handshakeTimeoutMs", "noDelay", "mechanism", "onTlsError"];
const OPTION_HINTS = {
  context: "the options of TlsConfig",
  verify: "no option: attach() does not connect to the server any more",
  onError: "onTlsError",
  handshakeTimeout: "handshakeTimeoutMs",
};
const MECHANISMS: readonly unknown[] = ["acceptor", "handoff", "context"];

const attachments = new WeakMap<Server, Attachment>();

/**
 * Makes a server of `node:tls`, `node:https` or `node:http2` follow a state: it serves each connection with the
 * configuration that is current when the connection is accepted. A swap closes nothing but what `drain` of the state
 * says.
 *
 * The server needs no certificate of its own. The configuration decides about certificate, key, client authentication,
 * ALPN, versions, cipher suites and groups. What the configuration leaves open stays as the server was created, as far
 * as the runtime keeps it: on Node among others `crl`, `ciphers`, `sigalgs`, `dhparam`, `ticketKeys` and
 * `sessionTimeout`, on Deno versions, `ciphers`, `ecdhCurve` and `sigalgs`; a stricter `minVersion` of the server holds
 * where the configuration has the default.
 *
 * The application sees what a bare server shows: `secureConnection` in the turn of the handshake, `tlsClientError` with
 * the error of the runtime, `keylog`, `newSession`, `resumeSession`, `OCSPRequest`. Errors of our own are emitted only
 * where a client is refused (`CLIENT_UNAUTHORIZED`) or too slow (`HANDSHAKE_TIMEOUT`). On Node, session tickets stay
 * valid over swaps that keep client authentication, ALPN and versions; ticket keys that are set on the server always
 * hold. With client authentication, no other server resumes its sessions, so `sessionIdContext` is set for each server.
 *
 * On Bun on Linux, the listening socket passes at each swap to a server that is made like the one given; its events
 * arrive at the one given, whose methods speak for all of them. It listens a moment after `listen()` was called, with
 * the state's configuration from the first connection; a server that listens before it is attached serves as it was
 * created until `ready` resolves. The `server` of the requests' sockets is the one that accepted them. An `https`
 * server of Bun knows neither optional client authentication nor `allowClient`, and no protocol but `http/1.1`.
 *
 * On Bun elsewhere, `tls` and `http2` servers ask for client certificates and offer protocols as they were created:
 * make them with `state.tls`. `swap()` throws `UNSUPPORTED` for a configuration that differs in these. An `https`
 * server cannot be attached there.
 *
 * @param state The state to follow.
 * @param server The server, listening or not yet. Any server fits the type, because frameworks return unions such as
 * `ServerType` of `@hono/node-server`; one without TLS throws.
 * @param options Time limit, mechanism, and where errors go.
 * @returns The attachment. When it is disposed of, the server accepts again as it was created, with its own certificate
 * and client authentication; on Bun it goes on with the last configuration if it has listened.
 * @throws {TlsReloadError} `UNSUPPORTED` if the runtime cannot change the server, or if the server has something that
 * cannot be kept beside a configuration that changes: `SNICallback`, `ALPNCallback`, `pskCallback`, `addContext()`,
 * `secureProtocol`, or client authentication that the configuration does not have; or if it is one of the several
 * servers by which Fastify listens on `localhost`. `CONFIG_UNUSABLE` if the options of the server do not fit the
 * configuration.
 * @throws {TypeError} If an argument has the wrong type, an option is unknown, or the server is attached already.
 *
 * @example
 * ```ts
 * import https from "node:https";
 * import { loadTlsConfig, TlsState } from "@x/tls-reload";
 * import { attach } from "@x/tls-reload/node";
 *
 * const state = new TlsState(await loadTlsConfig("fullchain.pem", "privkey.pem"));
 * const server = https.createServer((_request, response) => response.end("hello\n")).listen(8443);
 * attach(state, server);
 * ```
 */
export function attach(state: TlsState, server: NetServer, options: AttachOptions = {}): Attachment {
  requireArguments(state, server, options);
  const attachment = follow(state, server, options);
  attachments.set(server, attachment);
  warnOfAnotherServer(server, attachment);
  return attachment;
}

/** The mechanisms in the order of preference. */
function follow(state: TlsState, server: Server, options: AttachOptions): Attachment {
  const { mechanism } = options;
  const accepts = acceptsByListener(server);
  if (accepts && mechanism !== "context" && mechanism !== "handoff") return new AcceptingServer(state, server, options);
  if (mechanism === "acceptor") {
    throw unsupported("attach to server", 'its servers do not accept in JavaScript; leave out mechanism: "acceptor"');
  }
  if (mechanism !== "context") {
    const exclusion = accepts ? "its servers accept in JavaScript" : exclusionOf(server);
    if (exclusion === undefined) return new HandoffServer(state, server, options);
    if (mechanism === "handoff") throw unsupported("attach to server", `the handoff cannot be used: ${exclusion}`);
  }
  if (!canChangeContext(server)) {
    throw unsupported(
      "attach to server",
      "this kind of server cannot change its certificate; use state.acceptor() with node:http, or serve() of ./bun",
    );
  }
  return new ContextServer(state, server, options);
}

/** Whether a server makes TLS. On Bun the servers of `node:https` are not servers of `node:tls`. */
const isTlsServer = (server: unknown): server is Server => server instanceof Server || server instanceof HttpsServer;

function requireArguments(state: unknown, server: unknown, options: AttachOptions): asserts server is Server {
  if (isTlsServer(state) && server instanceof TlsState) {
    throw new TypeError("Cannot attach to server: 'state' must be a TlsState: a Server; the arguments are swapped");
  }
  requireState("attach to server", state);
  if (!isTlsServer(server)) {
    const kind = server instanceof NetServer || server instanceof HttpServer ? "a server without TLS" : kindOf(server);
    throw new TypeError(
      `Cannot attach to server: 'server' must be a server of node:tls, node:https or node:http2: ${kind}`,
    );
  }
  requireOptions("attach", options, OPTION_NAMES, OPTION_HINTS);
  requireOptionTypes("attach", options, { noDelay: "a boolean", onTlsError: "a function" });
  const { handshakeTimeoutMs = Infinity, mechanism } = options;
  requireMs("handshakeTimeoutMs", handshakeTimeoutMs);
  if (mechanism !== undefined && !MECHANISMS.includes(mechanism)) {
    throw new TypeError(
      `Cannot attach to server: 'mechanism' must be "acceptor", "handoff" or "context": ${kindOf(mechanism)}`,
    );
  }
  if (attachments.get(server)?.isAttached) {
    throw new TypeError("Cannot attach to server: it is attached already");
  }
}
