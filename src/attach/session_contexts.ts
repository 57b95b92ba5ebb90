import { hash, randomBytes } from "node:crypto";
import type { TlsOptions } from "node:tls";
import type { CertifiedKey } from "../config/certified_key.ts";
import type { TlsConfig } from "../config/tls_config.ts";

/** The maximum length of a session id context. */
const MAX_CONTEXT_LENGTH = 32;

/**
 * Decides which sessions of an attached server are resumed, of tickets as of a store. OpenSSL makes a full handshake for
 * a session of another context.
 *
 * Sessions of verified clients are restricted to this server, because another one has not verified them, although
 * workers of `node:cluster` share their ticket keys. A session of one name is not resumed under another name, because
 * the client would not see its certificate.
 */
export class SessionContexts {
  readonly #own = randomBytes(MAX_CONTEXT_LENGTH / 2).toString("hex");

  /**
   * Adds the session id context.
   *
   * @param options The options of an inner server.
   * @param config Its configuration.
   * @param certifiedKey Its certified key.
   * @returns The options, with a context that other processes derive too unless clients are verified.
   */
  with(options: TlsOptions, { clientAuth, certifiedKeys }: TlsConfig, { leaf }: CertifiedKey): TlsOptions {
    const context = clientAuth ? this.#own : options.sessionIdContext;
    if (certifiedKeys.length > 1) {
      const ofName = hash("sha256", `${context ?? ""} ${leaf.fingerprint256}`, "base64");
      return { ...options, sessionIdContext: ofName.slice(0, MAX_CONTEXT_LENGTH) };
    }
    return context === undefined ? options : { ...options, sessionIdContext: context };
  }
}
