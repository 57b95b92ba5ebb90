import { refuseOn, unsupported } from "../unsupported.ts";
import { pathCertificateOf } from "../x509/path_certificate.ts";
import { crlPemsOf, revocationOf } from "./client_auth.ts";
import type { ClientAuth } from "./options.ts";

const ALTERNATIVE = "use state.acceptor(), or attach() to a server without state.tls";

/**
 * The revocation lists for a server that verifies its clients without this module. Such a server refuses every client
 * once one of its lists is past its nextUpdate.
 *
 * @throws {TlsReloadError} `UNSUPPORTED` if the runtime would answer otherwise than the configuration says: it refuses
 * all clients of an authority or an intermediate without a list, it cannot accept stale lists, and Deno ignores lists.
 */
export function runtimeRevocation(auth: ClientAuth | undefined, action: string): { readonly crl?: string[] } {
  const revocation = revocationOf(auth);
  if (!auth || !revocation) return {};
  refuseOn("deno", action, `it ignores revocation lists; ${ALTERNATIVE}`);
  if (auth.staleCrl === "accept") {
    throw unsupported(action, `the runtime always refuses clients when a revocation list is stale; ${ALTERNATIVE}`);
  }
  const missing = [...auth.ca, ...auth.intermediates].find((each) => !revocation.hasListOf(pathCertificateOf(each)));
  if (missing) {
    const reason = `the runtime refuses clients of an authority without a revocation list, as "${missing.subject}" is`;
    throw unsupported(action, `${reason}; ${ALTERNATIVE}`);
  }
  return { crl: crlPemsOf(auth) };
}
