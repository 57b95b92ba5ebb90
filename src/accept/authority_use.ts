import type { TLSSocket } from "node:tls";
import { requireOptions } from "../arguments.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { requireMs } from "../durations.ts";
import { TlsReloadError } from "../errors.ts";
import { unsupported } from "../unsupported.ts";
import type { Certificate } from "../x509/certificate.ts";
import type { ClientCertificate } from "./client_identity.ts";

/** A client authority and the clients that it has verified since the state was made. */
export interface AuthorityStatus {
  /** The subject, such as `CN=Clients,O=Example` (RFC 4514). */
  readonly subject: string;
  /** SHA-256 of the certificate in upper-case hexadecimal with colons. */
  readonly fingerprint256: string;
  /** The last moment of its validity. */
  readonly notAfter: Date;
  /** Whether the current configuration trusts it; else the previous one did. */
  readonly isCurrent: boolean;
  /** How many open connections are of clients that it has verified. */
  readonly liveConnections: number;
  /** How many connections there have been, the open ones included. */
  readonly totalConnections: number;
  /**
   * When a client last connected, or the last connection ended; now while one is open. `undefined` if there was none.
   */
  readonly lastUsed: Date | undefined;
  /** SHA-256 fingerprint of the certificate of the client that connected last. */
  readonly lastClient: string | undefined;
}

/** Which authorities a swap may remove. */
export interface ExpectUnused {
  /** For how long no client may have used an authority that is removed. */
  readonly withinMs: number;
}

/**
 * Refuses an option that is not an {@linkcode ExpectUnused}.
 *
 * @throws {TypeError} If an option is unknown or is none of its allowed values.
 */
export function requireExpectUnused(where: string, expectUnused: ExpectUnused): void {
  requireOptions(`expectUnused of ${where}`, expectUnused, ["withinMs"]);
  requireMs("withinMs", expectUnused.withinMs);
}

/** The options of a swap. */
export interface SwapOptions {
  /**
   * Refuses to remove a client authority that a client has used within this time, or uses now. What clients did before
   * the state was made is not known.
   */
  readonly expectUnused?: ExpectUnused | undefined;
}

/** The counts of one authority. */
interface Use {
  /** The clients of the open connections. */
  readonly live: Set<ClientCertificate>;
  total: number;
  lastUsedMs: number;
  lastClient: string;
}

/**
 * Which authorities the clients of a state use.
 *
 * Invariant: a client counts for each authority that may have verified it, from its admission to the end of its
 * connection. An authority that was used is never forgotten, so that one that is removed and added again does not count
 * as unused; it takes about 300 bytes.
 */
export class AuthorityUse {
  readonly #uses = new Map<string, Use>();
  #authorities: readonly Certificate[] = [];
  #previous: readonly Certificate[] = [];

  /** Counts a client that has entered, until its connection is closed. */
  note(secure: TLSSocket, client: ClientCertificate): void {
    const uses = [...client.authorities].map((authority) => this.#useOf(authority));
    for (const use of uses) {
      use.live.add(client);
      use.total++;
      use.lastUsedMs = Date.now();
      use.lastClient = client.fingerprint256;
    }
    const end = () => {
      for (const use of uses) {
        use.live.delete(client);
        use.lastUsedMs = Date.now();
      }
    };
    if (secure.closed) end();
    else secure.once("close", end);
  }

  /** Another configuration is current. */
  follow({ clientAuth }: TlsConfig): void {
    this.#previous = this.#authorities;
    this.#authorities = clientAuth?.ca ?? [];
  }

  /** The authorities of the current configuration, then those of the previous one alone. */
  status(): AuthorityStatus[] {
    const current = new Set(this.#authorities.map(({ fingerprint256 }) => fingerprint256));
    const byFingerprint = new Map([...this.#authorities, ...this.#previous].map((each) => [each.fingerprint256, each]));
    return [...byFingerprint.values()].map(({ subject, fingerprint256, notAfter }) => {
      const { live, total = 0, lastUsedMs, lastClient } = this.#uses.get(fingerprint256) ?? {};
      const liveConnections = live?.size ?? 0;
      const usedMs = liveConnections > 0 ? Date.now() : lastUsedMs;
      return {
        subject,
        fingerprint256,
        notAfter,
        isCurrent: current.has(fingerprint256),
        liveConnections,
        totalConnections: total,
        lastUsed: usedMs === undefined ? undefined : new Date(usedMs),
        lastClient,
      };
    });
  }

  /**
   * Refuses a configuration that removes an authority in use, where a swap does not expect that.
   *
   * @throws {TlsReloadError} `AUTHORITY_IN_USE`, or `UNSUPPORTED` if one of them does not show its clients.
   * @throws {TypeError} If an option is unknown or is none of its allowed values.
   */
  requireExpected(
    next: TlsConfig,
    options: SwapOptions,
    followers: Iterable<{ readonly hidesClients?: boolean }>,
  ): void {
    requireOptions("swap()", options, ["expectUnused"]);
    if (options.expectUnused === undefined) return;
    requireExpectUnused("swap()", options.expectUnused);
    const { withinMs } = options.expectUnused;
    const kept = new Set(next.clientAuth?.ca.map(({ fingerprint256 }) => fingerprint256));
    const removed = this.#authorities.filter(({ fingerprint256 }) => !kept.has(fingerprint256));
    if (removed.length > 0 && [...followers].some(({ hidesClients }) => hidesClients)) {
      const reason = "a server that follows the state does not show its clients; use state.acceptor() or attach()";
      throw unsupported("tell whether an authority is unused", reason);
    }
    for (const { subject, fingerprint256 } of removed) {
      const use = this.#uses.get(fingerprint256);
      const user = use && userWithin(withinMs, use);
      if (user === undefined) continue;
      const message = `Cannot swap: clients use the authority "${subject}" (${fingerprint256}), which is removed`;
      throw new TlsReloadError("AUTHORITY_IN_USE", `${message}; ${user}`);
    }
  }

  #useOf(fingerprint256: string): Use {
    const use = this.#uses.get(fingerprint256) ?? { live: new Set(), total: 0, lastUsedMs: 0, lastClient: "" };
    this.#uses.set(fingerprint256, use);
    return use;
  }
}

/** The client that uses an authority, or has used it within a time, for a message; `undefined` if there is none. */
function userWithin(ms: number, { live, lastUsedMs, lastClient }: Use): string | undefined {
  const [connected] = live;
  if (connected) return `${connected.fingerprint256} is connected; open connections: ${live.size}`;
  const unusedMs = Date.now() - lastUsedMs;
  return unusedMs < ms ? `the last one was ${lastClient}: ${unusedMs} ms ago` : undefined;
}
