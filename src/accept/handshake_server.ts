import { Buffer } from "node:buffer";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Server, TlsOptions, TLSSocket } from "node:tls";
import type { CertifiedKey } from "../config/certified_key.ts";
import { settingsDigestOf } from "../config/digests.ts";
import { serverOptions } from "../config/server_options.ts";
import { certifiedKeyForClient, type TlsConfig } from "../config/tls_config.ts";
import type { TlsReloadError } from "../errors.ts";
import { type AlpnChallenges, createChallengeServer } from "./alpn_challenges.ts";
import type { AuthorityUse } from "./authority_use.ts";
import { type ClientHello, comparableName } from "./client_hello.ts";
import type { AllowClient } from "./client_identity.ts";
import { admissionRefusal, ClientVerification, resetConnection } from "./client_verification.ts";
import { failure } from "./handshake_failure.ts";
import { createInnerServer, makeHandshake } from "./inner_server.ts";
import type { LiveConnections } from "./live_connections.ts";
import { type HandshakeOptions, type HandshakeOutcome, PendingHandshake } from "./pending_handshake.ts";
import { readClientHello } from "./read_client_hello.ts";
import type { RecentServers } from "./recent_servers.ts";
import type { VerifiedClients } from "./verified_clients.ts";

/** The generations that a {@linkcode HandshakeServer} belongs to: those of a state, or of an attached server. */
export interface Lineage {
  readonly verifiedClients: VerifiedClients;
  readonly challenges: AlpnChallenges;
  /** Counts clients by their authorities, if anyone asks. */
  readonly authorityUse: AuthorityUse | undefined;
  /** The servers of several certified keys; with one key, each generation has its own. */
  readonly servers: RecentServers;
  /** The connections whose client has entered. */
  readonly connections: LiveConnections;
  /** Decides about clients whose certificate was verified. */
  readonly allowClient: AllowClient | undefined;
  /** The generation that is current now. */
  current(): HandshakeServer;
}

/** What the `tls.Server`s of a {@linkcode HandshakeServer} are made with. */
export interface InnerServerContext {
  /** The options of a server, asked for when it is made. */
  options(config: TlsConfig, certifiedKey: CertifiedKey): TlsOptions;
  /** Called with a server that was made, so that its listeners are called before those of the handshakes. */
  onCreated?(server: Server): void;
  /** Called with a server before each connection. */
  onConnection?(server: Server): void;
}

const PLAIN_CONTEXT: InnerServerContext = { options: serverOptions };
/** A fatal alert in a record of its own (RFC 8446 section 6.2). */
const UNRECOGNIZED_NAME = Buffer.from([21, 3, 3, 0, 2, 2, 112]);

/**
 * Makes the handshakes of one configuration with a `tls.Server` that never listens, because `tls.Server` verifies
 * clients, which a bare `TLSSocket` leaves to its owner.
 *
 * Invariant: a handshake ends once: it succeeds after the client has satisfied this configuration and the current one,
 * or its connection is closed. A handshake that has ended is not kept. The server and the client verification are made
 * when the first connection needs them.
 */
export class HandshakeServer {
  readonly config: TlsConfig;
  readonly generation: number;
  readonly #lineage: Lineage;
  readonly #context: InnerServerContext;
  #server: Server | undefined;
  #settingsDigest: string | undefined;
  #verification: ClientVerification | undefined;

  constructor(config: TlsConfig, generation: number, lineage: Lineage, context: InnerServerContext = PLAIN_CONTEXT) {
    this.config = config;
    this.generation = generation;
    this.#lineage = lineage;
    this.#context = context;
  }

  /** Judges the clients of this configuration; `undefined` if it does not ask for certificates. */
  get verification(): ClientVerification | undefined {
    const { clientAuth } = this.config;
    if (clientAuth) this.#verification ??= new ClientVerification(clientAuth, this.#lineage.verifiedClients);
    return this.#verification;
  }

  /**
   * Begins a handshake.
   *
   * @param socket The connection. It belongs to the handshake from here on.
   * @param options Its limits.
   * @param outcome Where it ends.
   */
  begin(socket: Duplex, options: HandshakeOptions, outcome: HandshakeOutcome): void {
    const pending = new PendingHandshake(socket, options, outcome);
    pending.admit = (secure) => {
      const refusal = this.#refusalOf(secure, pending.hello);
      if (refusal) {
        resetConnection(secure);
        // After the reset, because listeners destroy the socket, and the connection would end without a reset.
        setImmediate(() => pending.fail(refusal, secure));
        return;
      }
      if (!pending.end()) return;
      this.#lineage.connections.add(secure, this);
      outcome.succeed(secure);
    };
    if (pending.begin()) this.#start(socket, options, pending);
  }

  #start(socket: Duplex, options: HandshakeOptions, pending: PendingHandshake): void {
    if (options.noDelay && socket instanceof Socket) socket.setNoDelay(true);
    const { certifiedKeys, unknownName } = this.config;
    const isHelloNeeded = certifiedKeys.length > 1 || unknownName === "refuse" ||
      !this.#lineage.challenges.isEmpty || options.onClientHello !== undefined;
    if (!isHelloNeeded) {
      this.#serve(socket, pending, certifiedKeys[0]!);
      return;
    }
    pending.stopReading = readClientHello(socket, {
      succeed: (hello) => {
        pending.hello = hello;
        try {
          requireNoPromise(options.onClientHello?.(hello));
        } catch (error) {
          pending.fail(failure("HANDSHAKE_FAILED", "onClientHello refuses it", error));
          return;
        }
        // The callback may have aborted the handshake.
        if (!socket.destroyed) this.#answer(socket, pending, hello);
      },
      fail: (error) => pending.fail(pending.refusal ?? error),
    });
  }

  #answer(socket: Duplex, pending: PendingHandshake, hello: ClientHello): void {
    const challenge = this.#lineage.challenges.find(hello);
    if (challenge) {
      this.#answerChallenge(socket, pending, challenge);
      return;
    }
    // Asks the system, so only if it matters.
    const localAddress = hello.serverName === undefined ? (socket as Partial<Socket>).localAddress : undefined;
    const certifiedKey = certifiedKeyForClient(this.config, hello, localAddress);
    if (certifiedKey) {
      this.#serve(socket, pending, certifiedKey);
      return;
    }
    const error = failure("HANDSHAKE_FAILED", "no certificate holds the name that the client asks for");
    socket.end(UNRECOGNIZED_NAME, () => pending.fail(error));
  }

  /** RFC 8737 section 3: the handshake is all there is, and nothing is exchanged after it. */
  #answerChallenge(socket: Duplex, pending: PendingHandshake, certifiedKey: CertifiedKey): void {
    const answered = failure("CHALLENGE_ANSWERED", "it was an ACME challenge, which has been answered");
    pending.admit = (secure) => void secure.end(() => pending.fail(answered));
    this.#makeHandshake(socket, pending, () => createChallengeServer(certifiedKey, socket));
  }

  #makeHandshake(socket: Duplex, pending: PendingHandshake, server: () => Server): void {
    try {
      makeHandshake(server(), socket, pending);
    } catch (cause) {
      pending.fail(failure("HANDSHAKE_FAILED", "the runtime refuses the connection", cause));
    }
  }

  #serve(socket: Duplex, pending: PendingHandshake, certifiedKey: CertifiedKey): void {
    this.#makeHandshake(socket, pending, () => {
      const server = socket instanceof Socket ? this.#serverOf(certifiedKey) : this.#createServer(certifiedKey, socket);
      this.#context.onConnection?.(server);
      return server;
    });
  }

  #serverOf(certifiedKey: CertifiedKey): Server {
    if (this.config.certifiedKeys.length === 1) return this.#server ??= this.#createServer(certifiedKey);
    const settingsDigest = this.#settingsDigest ??= settingsDigestOf(this.config);
    return this.#lineage.servers.get(certifiedKey, settingsDigest, () => this.#createServer(certifiedKey));
  }

  #createServer(certifiedKey: CertifiedKey, duplex?: Duplex): Server {
    const options = this.#context.options(this.config, certifiedKey);
    return createInnerServer(options, (server) => this.#context.onCreated?.(server), duplex);
  }

  #refusalOf(secure: TLSSocket, hello: ClientHello | undefined): TlsReloadError | undefined {
    if (hello && !isAskedBy(hello, secure)) {
      return failure("HANDSHAKE_FAILED", "the handshake has another name or protocol than the ClientHello asked for");
    }
    const { allowClient, authorityUse } = this.#lineage;
    const current = () => this.#lineage.current().verification;
    const reason = admissionRefusal(secure, { own: this.verification, current, allowClient, authorityUse });
    return reason === undefined ? undefined : failure("CLIENT_UNAUTHORIZED", reason);
  }
}

/**
 * Whether a connection has the name and the protocol that the client asked for at first. After a HelloRetryRequest, a
 * client sends a second ClientHello, which only the runtime reads. OpenSSL does not compare it with the first, and rustls
 * only its name, although both must ask for the same (RFC 8446 section 4.1.2).
 */
function isAskedBy({ serverName, alpnProtocols }: ClientHello, secure: TLSSocket): boolean {
  // Deno has the property, but not its type.
  const { servername, alpnProtocol } = secure as TLSSocket & { readonly servername?: string | false | null };
  const hasName = !servername || comparableName(servername) === serverName;
  return hasName && (!alpnProtocol || alpnProtocols.includes(alpnProtocol));
}

/** An `async` function has decided nothing yet when it returns: its client must not enter. */
function requireNoPromise(returned: unknown): void {
  // Not every promise is a `Promise` of this realm.
  if (typeof Object(returned).then !== "function") return;
  Promise.resolve(returned).catch(() => {});
  throw new TypeError("Cannot accept connection: 'onClientHello' must return nothing: a Promise");
}
