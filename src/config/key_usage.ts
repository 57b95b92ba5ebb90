/**
 * Whether BoringSSL, the TLS of Bun, refuses a certificate because its keyUsage lacks digitalSignature. Its clients
 * refuse every such certificate that they receive, and its servers those with a key for ECDSA. OpenSSL, Go and rustls
 * do not look at the extension (RFC 8446 section 4.4.2.2 asks for it), so that `check()` reports it.
 *
 * Bun 1.4.5 gives its errors this code. The canary is in `tests/config/key_usage_test.ts`.
 */
export function isRefusalOfKeyUsage(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ERR_SSL_KEY_USAGE_BIT_INCORRECT";
}
