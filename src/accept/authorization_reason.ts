import type { TLSSocket } from "node:tls";

/**
 * Why the runtime refuses the certificate of a client. Node has names for the usual errors of OpenSSL, and calls all
 * others `UNSPECIFIED`, such as a violation of name constraints, an issuer that may not sign, and SHA-1.
 *
 * @param socket The connection.
 * @returns The reason, for an error message.
 */
export function authorizationReason({ authorizationError }: Pick<TLSSocket, "authorizationError">): string {
  const reason = String(authorizationError);
  if (reason !== "UNSPECIFIED") return reason;
  return "OpenSSL refuses the certificate of the client, and this runtime does not say why; " +
    "'openssl verify -purpose sslclient' does";
}
