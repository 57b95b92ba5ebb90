import type { TLSSocket } from "node:tls";
import { TlsReloadError, type TlsReloadErrorCode } from "../errors.ts";

/**
 * The codes of handshakes that failed because of the client's certificate, where the runtime sets no
 * `authorizationError`.
 */
const CERTIFICATE_CODES = new Set<string | undefined>([
  // Deno: a certificate that rustls does not read, such as one with an unknown critical extension.
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  // Bun: a certificate that BoringSSL does not read, or whose keyUsage lacks digitalSignature.
  "ERR_SSL_CERTIFICATE_VERIFY_FAILED",
  "ERR_SSL_KEY_USAGE_BIT_INCORRECT",
]);

/** The error of a connection that is not accepted. */
export function failure(code: TlsReloadErrorCode, reason: string, cause?: unknown): TlsReloadError {
  return new TlsReloadError(code, `Cannot accept connection: ${reason}`, { cause });
}

/**
 * The error of a handshake that the runtime has ended: `CLIENT_UNAUTHORIZED` if the certificate of the client is missing
 * or refused, or else `HANDSHAKE_FAILED`.
 */
export function runtimeFailure(
  cause: NodeJS.ErrnoException,
  { authorizationError }: Pick<TLSSocket, "authorizationError">,
): TlsReloadError {
  if (cause.code === "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE") {
    return failure("CLIENT_UNAUTHORIZED", "the client sent no certificate", cause);
  }
  if (authorizationError) return failure("CLIENT_UNAUTHORIZED", authorizationReason({ authorizationError }), cause);
  const code = CERTIFICATE_CODES.has(cause.code) ? "CLIENT_UNAUTHORIZED" : "HANDSHAKE_FAILED";
  return failure(code, cause.code ?? cause.message, cause);
}

/**
 * Why the runtime refuses the certificate of a client. Node has names for the usual errors of OpenSSL, and calls all
 * others `UNSPECIFIED`, such as a violation of name constraints, an issuer that may not sign, and SHA-1.
 */
export function authorizationReason({ authorizationError }: Pick<TLSSocket, "authorizationError">): string {
  const reason = String(authorizationError);
  if (reason !== "UNSPECIFIED") return reason;
  return "OpenSSL refuses the certificate of the client, and this runtime does not say why; " +
    "'openssl verify -purpose sslclient' does";
}
