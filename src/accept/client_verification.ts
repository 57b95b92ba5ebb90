import { Socket } from "node:net";
import type { DetailedPeerCertificate, TLSSocket } from "node:tls";
import type { Certificate } from "../x509/certificate.ts";
import { readCertificateFields } from "../x509/certificate_fields.ts";
import type { ClientAuth } from "../config/tls_config.ts";

/** How many clients are remembered; one that is forgotten has to make a full handshake. */
const MAX_REMEMBERED = 10_000;

/** What the runtime has verified a client by. */
interface Verification {
  /** Fingerprints of authorities. While all of them are trusted so is the client, whoever else is. */
  readonly authorities: ReadonlySet<string>;
  /** When the first of its certificates expires: Node 24 tells of no intermediate ones. */
  readonly notAfter: number;
}

/**
 * The clients that the runtime has verified in a full handshake, by the fingerprint of their certificate; the one that
 * has been away for longest stands first. For the whole process, as the session tickets are on Deno.
 */
const verified = new Map<string, Verification>();

/**
 * Decides, after a handshake, whether a client may enter.
 *
 * In a full handshake the runtime has verified the client. In a resumed one nobody has: Deno accepts a session of any
 * server of the process and calls it authorised, whoever the client was. So a resumed client enters only if the
 * runtime verified that very certificate before, under authorities that are all trusted here as well.
 */
export class ClientCheck {
  readonly #auth: ClientAuth;
  readonly #trusted: ReadonlySet<string>;
  readonly #isCircular: boolean;

  constructor(auth: ClientAuth) {
    this.#auth = auth;
    this.#isCircular = isCircular(auth.ca);
    this.#trusted = new Set(auth.ca.map(({ fingerprint256 }) => fingerprint256));
  }

  /** Why the client must not enter, or `undefined` if it may. */
  refusal(socket: TLSSocket): string | undefined {
    try {
      return this.#refusal(socket);
    } catch (error) {
      return `the certificate of the client cannot be read: ${error}`;
    }
  }

  #refusal(socket: TLSSocket): string | undefined {
    // Not getPeerX509Certificate(): on Node 22 and 24 it takes the chain away from whoever asks after it.
    const { fingerprint256, valid_to } = socket.getPeerCertificate() ?? {};
    if (!fingerprint256) {
      socket.authorized = false;
      return this.#auth.mode === "optional" ? undefined : "the client sent no certificate";
    }
    if (!socket.isSessionReused()) {
      if (!socket.authorized) return String(socket.authorizationError);
      remember(fingerprint256, this.#verification(socket, Date.parse(valid_to)));
      return undefined;
    }
    const before = verified.get(fingerprint256);
    if (!before) return "the resumed session is of a client that is not known to have been verified";
    if (!(Date.now() <= before.notAfter)) return "the resumed session outlived a certificate of the client";
    if (!before.authorities.isSubsetOf(this.#trusted)) {
      return "the resumed session is of a client that may be trusted no longer";
    }
    remember(fingerprint256, before);
    return undefined;
  }

  #verification(socket: TLSSocket, notAfter: number): Verification {
    let authorities = this.#trusted;
    try {
      // Deno would follow such authorities for ever.
      const chain = this.#isCircular ? [] : chainOf(socket);
      const ends = chain.map(({ valid_to }) => Date.parse(valid_to)).filter((end) => end >= Date.now());
      notAfter = Math.min(notAfter, ...ends);
      // The authority that the runtime has found is the issuer of one of these, or one of them itself.
      const issuers = new Set(chain.map(({ raw }) => readCertificateFields(raw).issuer));
      const own = new Set(chain.map(({ fingerprint256 }) => fingerprint256));
      const candidates = this.#auth.ca.filter(({ subject, fingerprint256 }) => {
        return issuers.has(subject) || own.has(fingerprint256);
      });
      if (candidates.length > 0) authorities = new Set(candidates.map(({ fingerprint256 }) => fingerprint256));
    } catch {
      // Verified all the same, by what nobody here can tell.
    }
    return { authorities, notAfter };
  }
}

/** Whether some of these have issued each other, as bridges between authorities do. */
function isCircular(ca: readonly Certificate[]): boolean {
  const hasIssuerIn = (others: readonly Certificate[]) => ({ subject, issuer }: Certificate) =>
    subject !== issuer && others.some((other) => other.subject === issuer);
  let left = ca;
  for (let count = Infinity; left.length < count;) {
    count = left.length;
    left = left.filter(hasIssuerIn(left));
  }
  return left.length > 0;
}

/**
 * Breaks the connection of a client that is refused after its handshake. Where the connection just ends, clients take
 * it for done, and try to resume the same session for ever.
 */
export function turnAway(secure: TLSSocket): void {
  const { _parent: socket } = secure as TLSSocket & { _parent?: unknown };
  // Not here and now: Node dies of it.
  setImmediate(() => {
    // Only TCP knows a reset: of a unix socket Node throws.
    if (socket instanceof Socket && socket.remotePort) socket.resetAndDestroy();
    secure.destroy();
  });
}

function remember(fingerprint256: string, verification: Verification): void {
  verified.delete(fingerprint256);
  verified.set(fingerprint256, verification);
  if (verified.size > MAX_REMEMBERED) verified.delete(verified.keys().next().value!);
}

/** The client's own certificate, and those that lead from it to an authority. */
function chainOf(socket: TLSSocket): DetailedPeerCertificate[] {
  const chain = new Set<DetailedPeerCertificate>();
  let next: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  // An authority may be shown as its own issuer.
  for (; next?.raw && !chain.has(next); next = next.issuerCertificate) chain.add(next);
  return [...chain];
}
