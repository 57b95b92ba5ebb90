import { createSecureContext, type SecureContext } from "node:tls";
import { location, TlsReloadError } from "../errors.ts";
import { HIDDEN_CONTEXT, showAs } from "../redaction.ts";
import type { CertifiedKey } from "./certified_key.ts";
import { isRefusalOfKeyUsage } from "./key_usage.ts";
import { serverOptions, type TlsServerOptions } from "./server_options.ts";
import type { TlsSettings } from "./settings.ts";

/** Makes a context of the runtime that hides its private key when it is printed. */
export function contextWith(options: TlsServerOptions): SecureContext {
  return showAs(createSecureContext(options), () => HIDDEN_CONTEXT);
}

/**
 * Builds the context of a configuration with one of its certified keys.
 *
 * @param settings The configuration.
 * @param certifiedKey The certified key.
 * @returns The context.
 * @throws {TlsReloadError} `CONFIG_UNUSABLE` if the runtime refuses the configuration.
 */
export function buildContext(settings: TlsSettings, certifiedKey: CertifiedKey): SecureContext {
  try {
    return contextWith(serverOptions(settings, certifiedKey));
  } catch (cause) {
    const { path } = certifiedKey;
    const reason = isRefusalOfKeyUsage(cause) ? ": the key usage of its certificate lacks digitalSignature" : "";
    const message = `Cannot use TLS config${location({ path })}: the runtime refuses it${reason}`;
    throw new TlsReloadError("CONFIG_UNUSABLE", message, { cause, path });
  }
}
