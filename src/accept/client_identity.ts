import type { TLSSocket } from "node:tls";
import { kindOf } from "../arguments.ts";
import { readCertificateFields } from "../x509/certificate_fields.ts";
import { readStructure } from "../x509/certificate_structure.ts";
import { CertificateExtensions } from "../x509/extensions.ts";
import type { GeneralName } from "../x509/general_name.ts";
import { unsupported } from "../unsupported.ts";
import { warn } from "../warnings.ts";

/** Who a client is, as its verified certificate says. */
export interface ClientIdentity {
  /** SHA-256 of the certificate in upper-case hexadecimal with colons. */
  readonly fingerprint256: string;
  /** The subject, such as `CN=service,O=Example` (RFC 4514). Empty if the certificate has other names only. */
  readonly subject: string;
  /** The serial number in upper-case hexadecimal. */
  readonly serialNumber: string;
  /** The DNS names (RFC 5280 section 4.2.1.6). */
  readonly dnsNames: readonly string[];
  /** The URIs, such as `spiffe://example.org/service`. */
  readonly uris: readonly string[];
  /** The e-mail addresses. */
  readonly emails: readonly string[];
  /** The IP addresses in their canonical text (RFC 5952). */
  readonly ipAddresses: readonly string[];
  /** The last moment of the certificate's validity. */
  readonly notAfter: Date;
  /**
   * SHA-256 fingerprints of the authorities that may have verified the client. One, except where the runtime does not
   * show the client's path.
   */
  readonly authorities: readonly string[];
}

/** Decides whether a client may enter whose certificate was verified. */
export type AllowClient = (client: ClientIdentity) => boolean;

/** The certificate of a client in one handshake. */
export interface ClientCertificate {
  readonly raw: Uint8Array;
  readonly fingerprint256: string;
  /** The authorities that may have verified it; empty until it is verified. */
  authorities: ReadonlySet<string>;
}

/**
 * Where a connection keeps its client. Not in a `WeakMap`: `http2` hands out a proxy of the socket, which passes
 * properties on.
 */
const CLIENT = Symbol("client");

/** Notes who is on a connection, so that {@linkcode clientIdentity} can tell; `undefined` if it has no certificate. */
export function noteClient(secure: TLSSocket, certificate: ClientCertificate | undefined): void {
  Object.defineProperty(secure, CLIENT, { value: certificate });
}

/**
 * Tells who the client of a connection is, the same on every runtime.
 *
 * @param socket A connection of `acceptor().accept()`, or of a server that was given to `attach()`.
 * @returns The client's identity, or `undefined` if the client has no certificate or was not asked for one.
 * @throws {TlsReloadError} `UNSUPPORTED` if this is another connection: `Bun.serve` and `https` servers of Bun do not
 * show who their clients are. Use `state.acceptor()` there.
 *
 * @example
 * ```ts
 * import net from "node:net";
 * import { clientIdentity, type TlsState } from "@x/tls-reload";
 *
 * function serve(state: TlsState): net.Server {
 *   return net.createServer(async (socket) => {
 *     const secure = await state.acceptor().accept(socket).catch(() => undefined);
 *     secure?.end(`hello ${clientIdentity(secure)?.uris[0] ?? "stranger"}\n`);
 *   });
 * }
 * ```
 */
export function clientIdentity(socket: TLSSocket): ClientIdentity | undefined {
  if (typeof socket !== "object" || socket === null) {
    throw new TypeError(`Cannot tell the identity of a client: 'socket' must be a TLSSocket: ${kindOf(socket)}`);
  }
  if (!(CLIENT in socket)) {
    const reason = "the server of this connection does not show its clients; use state.acceptor() or attach()";
    throw unsupported("tell the identity of a client", reason);
  }
  const certificate = socket[CLIENT] as ClientCertificate | undefined;
  return certificate && readIdentity(certificate);
}

/**
 * Asks a callback of the user about a client. Only `true` lets it in: an error or a promise is a bug, and is warned of.
 *
 * @returns Why the client is refused, or `undefined` if it may enter.
 */
export function allowRefusal(certificate: ClientCertificate, allowClient: AllowClient): string | undefined {
  try {
    const answer: unknown = allowClient(readIdentity(certificate));
    if (answer === true) return undefined;
    if (answer !== false) {
      warn(new TypeError(`Cannot let a client in: 'allowClient' must return a boolean: ${kindOf(answer)}`));
      if (answer instanceof Promise) answer.catch(() => {});
    }
  } catch (error) {
    warn(error);
  }
  return "allowClient refuses the client";
}

function readIdentity({ raw, fingerprint256, authorities }: ClientCertificate): ClientIdentity {
  const { subject, serialNumber, notAfter } = readCertificateFields(raw);
  const names = new CertificateExtensions(readStructure(raw)).subjectAltNames ?? [];
  const valuesOf = (kind: Exclude<GeneralName["kind"], "other">) =>
    Object.freeze(names.flatMap((name) => "value" in name && name.kind === kind ? [name.value] : []));
  return Object.freeze({
    fingerprint256,
    subject,
    serialNumber,
    dnsNames: valuesOf("dns"),
    uris: valuesOf("uri"),
    emails: valuesOf("email"),
    ipAddresses: Object.freeze(valuesOf("ip").filter((address) => address !== "")),
    notAfter: new Date(notAfter),
    authorities: Object.freeze([...authorities]),
  });
}
