import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { kindOf } from "../arguments.ts";
import { readCertificateFields } from "../x509/certificate_fields.ts";
import { readStructure } from "../x509/certificate_structure.ts";
import { CertificateExtensions } from "../x509/certificate_extensions.ts";
import type { GeneralName } from "../x509/general_name.ts";
import { unsupported } from "../unsupported.ts";
import { warn } from "../warnings.ts";
import type { Verification } from "./verified_clients.ts";

/** The identity of a client, from its verified certificate. */
export interface ClientIdentity {
  /** SHA-256 of the certificate in upper-case hexadecimal with colons. */
  readonly fingerprint256: string;
  /** The subject, such as `CN=service,O=Example` (RFC 4514). Empty if the certificate has only other names. */
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
   * SHA-256 fingerprints of the authorities of the configuration on the path of the client, the one at its end first;
   * of all authorities, if the runtime does not show the path.
   */
  readonly authorities: readonly string[];
}

/** Decides whether a client with a verified certificate is accepted. */
export type AllowClient = (client: ClientIdentity) => boolean;

/** The certificate of a client in one handshake. */
export interface ClientCertificate {
  readonly raw: Uint8Array;
  readonly fingerprint256: string;
  /** The authorities on the path, from its end; empty before the certificate is verified. */
  authorities: ReadonlySet<string>;
  /** What its path is known by, once it is verified. */
  verification?: Verification;
}

/**
 * The property of a connection that holds its client. A `WeakMap` does not work, because `http2` passes a proxy of the
 * socket to the application, which forwards properties.
 */
const CLIENT = Symbol("client");

/** Stores the client of a connection for {@linkcode clientIdentity}; `undefined` for a client without a certificate. */
export function noteClient(secure: TLSSocket, certificate: ClientCertificate | undefined): void {
  Object.defineProperty(secure, CLIENT, { value: certificate });
}

/** Who is on a connection, as it was noted. */
export function clientOf(secure: TLSSocket): ClientCertificate | undefined {
  return (secure as TLSSocket & { readonly [CLIENT]?: ClientCertificate })[CLIENT];
}

/**
 * Returns the identity of the client of a connection, in the same way on every runtime.
 *
 * @param socket A connection of `acceptor().accept()`, or of a server that is attached by `attach()`, such as
 * `request.socket`.
 * @returns The identity; `undefined` if the client sent no certificate, or none was requested.
 * @throws {TlsReloadError} `UNSUPPORTED` for other connections: `Bun.serve` and `https` servers of Bun do not show
 * their clients. Use `state.acceptor()` there.
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
export function clientIdentity(socket: Socket): ClientIdentity | undefined {
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
 * Asks a callback of the user about a client. Returns the reason for the refusal; `undefined` if the client is
 * accepted. Only `true` accepts the client. An error or a promise is a bug of the callback: it refuses the client and
 * emits a process warning.
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
