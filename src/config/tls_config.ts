import { Buffer } from "node:buffer";
import { constants, createHash, type KeyObject } from "node:crypto";
import { createSecureContext, type SecureContext, type Server, type TLSSocket } from "node:tls";
import { type Certificate, type CertificateFacts, parseCertificates } from "../x509/certificate.ts";
import { location, TlsReloadError } from "../errors.ts";
import { showAs } from "../redaction.ts";
import { encodePem, pathOf, type PemInput } from "../x509/pem.ts";
import { parsePrivateKey } from "../x509/private_key.ts";

/** A protocol version of TLS that all three runtimes serve. */
export type TlsVersion = "TLSv1.2" | "TLSv1.3";

/** Whether a client must show a certificate, or may. One that is shown must always be good. */
export type ClientAuthMode = "required" | "optional";

/** What a configuration holds beside certificate and key. */
export interface TlsConfigOptions<Source> {
  /**
   * What an encrypted private key is decrypted with. This takes as long as the key was made to take, a part of a second
   * as a rule, in which nothing else happens in the process.
   */
  readonly passphrase?: string | undefined;
  /**
   * The protocols offered by ALPN (RFC 7301), the preferred one first, such as `["h2", "http/1.1"]`.
   *
   * @default {[]}
   */
  readonly alpnProtocols?: readonly string[] | undefined;
  /**
   * The lowest protocol version that is spoken.
   *
   * @default {"TLSv1.2"}
   */
  readonly minVersion?: TlsVersion | undefined;
  /** Asks clients for a certificate. Without it they are not asked. */
  readonly clientAuth?: {
    /** The certificate authorities whose clients get in: one source that may hold several certificates. */
    readonly ca: Source;
    /** Whether a client without a certificate is refused. */
    readonly mode: ClientAuthMode;
  } | undefined;
}

/** What a {@linkcode TlsConfig} is made of: PEM in memory. */
export interface TlsConfigInit extends TlsConfigOptions<PemInput> {
  /** The chain, the server's own certificate first (RFC 8446 section 4.4.2). */
  readonly cert: PemInput;
  /** The private key of the first certificate. */
  readonly key: PemInput;
}

/** Which clients get in. */
export interface ClientAuth {
  /** Whether a client without a certificate is refused. */
  readonly mode: ClientAuthMode;
  /** The certificate authorities that are trusted. */
  readonly ca: readonly Certificate[];
}

/** The options of the runtimes' own servers: `tls`, `https` and `http2` of Node, and `Bun.serve({ tls })`. */
export interface TlsServerOptions {
  /** The chain as PEM. */
  readonly cert: string;
  /** The private key as plain PKCS#8 PEM: a buffer, since a buffer can hide what it holds when it is printed. */
  readonly key: Buffer;
  /** The client authorities as PEM. */
  readonly ca?: string[];
  /** Whether clients are asked for a certificate. */
  readonly requestCert: boolean;
  /** Whether the runtime refuses clients without a good certificate. */
  readonly rejectUnauthorized: boolean;
  /** The protocols offered by ALPN, in the wire form (RFC 7301 section 3.1), the one form that every runtime takes. */
  readonly ALPNProtocols?: Uint8Array;
  /** Flags of OpenSSL: no renegotiation, by which a TLS 1.2 client could become another one after it was let in. */
  readonly secureOptions: number;
  /** The lowest protocol version, where it is not TLS 1.2, the default of every runtime. */
  readonly minVersion?: TlsVersion;
}

/** The public facts of a configuration, as {@linkcode TlsConfig.toJSON} gives them. */
export interface TlsConfigFacts {
  /** The certificates that are sent, the server's own first. */
  readonly chain: readonly CertificateFacts[];
  /** The protocols offered by ALPN. */
  readonly alpnProtocols: readonly string[];
  /** The lowest protocol version. */
  readonly minVersion: TlsVersion;
  /** Which clients get in, if they are asked. */
  readonly clientAuth?: { readonly mode: ClientAuthMode; readonly ca: readonly CertificateFacts[] };
}

export const HIDDEN_KEY = "[private key]";
const HIDDEN_CONTEXT = "[secure context]";

let keyOf: (config: TlsConfig) => string;
let contextOf: (config: TlsConfig) => SecureContext;

/**
 * What a server serves TLS with: chain, private key, client authorities, ALPN and versions, as one whole.
 *
 * Valid by construction: the chain parses, the key is the only one, is usable and belongs to the first certificate,
 * and the runtime builds a context from them. Immutable; the key is neither readable nor printed. An expired
 * certificate makes a configuration too: its validity is a fact to be read.
 *
 * {@linkcode loadTlsConfig} makes one from files, and proves that it can serve.
 *
 * @example Certificate and key from an API, as Vault or SPIFFE hand them out
 * ```ts ignore
 * import { proveTlsConfig, TlsConfig } from "@x/tls-reload";
 *
 * const config = new TlsConfig({ cert: svid.chainPem, key: svid.keyPem });
 * await proveTlsConfig(config);
 * ```
 */
export class TlsConfig {
  /** The certificates that are sent, the server's own first. At least one. */
  readonly chain: readonly Certificate[];
  /** The protocols offered by ALPN, the preferred one first. */
  readonly alpnProtocols: readonly string[];
  /** The lowest protocol version that is spoken. */
  readonly minVersion: TlsVersion;
  /** Which clients get in; absent where they are not asked for a certificate. */
  readonly clientAuth: ClientAuth | undefined;
  readonly #key: string;
  readonly #context: SecureContext;

  static {
    keyOf = (config) => config.#key;
    contextOf = (config) => config.#context;
  }

  /**
   * Parses and checks; {@linkcode proveTlsConfig} goes on where this ends.
   *
   * @param init Chain and key in PEM, and what else is served with.
   * @throws {TlsReloadError} `PEM_INVALID`, `NO_CERTIFICATE`, `CERTIFICATE_INVALID`, `NO_PRIVATE_KEY`,
   * `MULTIPLE_PRIVATE_KEYS`, `KEY_UNSUPPORTED`, `KEY_ENCRYPTED`, `PASSPHRASE_WRONG`, `KEY_MISMATCH`, or
   * `CONFIG_UNUSABLE`.
   * @throws {TypeError} If an option is none of its allowed values.
   */
  constructor(init: TlsConfigInit) {
    const { cert, key, passphrase, alpnProtocols = [], minVersion = "TLSv1.2", clientAuth } = init;
    requireOption("minVersion", minVersion, ["TLSv1.2", "TLSv1.3"]);
    if (clientAuth) requireOption("clientAuth.mode", clientAuth.mode, ["required", "optional"]);
    requireProtocols(alpnProtocols);

    this.chain = Object.freeze(parseCertificates(cert));
    const privateKey = parsePrivateKey(key, passphrase);
    requireMatch(this.chain, privateKey, init);
    this.#key = encodePem({ label: "PRIVATE KEY", der: privateKey.export({ type: "pkcs8", format: "der" }) });
    this.alpnProtocols = Object.freeze([...alpnProtocols]);
    this.minVersion = minVersion;
    this.clientAuth = clientAuth &&
      Object.freeze({ mode: clientAuth.mode, ca: Object.freeze(parseCertificates(clientAuth.ca)) });
    try {
      this.#context = createSecureContext(serverOptions(this));
      showAs(this.#context, () => HIDDEN_CONTEXT);
    } catch (cause) {
      const path = pathOf(cert);
      const message = `Cannot use TLS config${location({ path })}: the runtime refuses it`;
      throw new TlsReloadError("CONFIG_UNUSABLE", message, { cause, path });
    }
    Object.freeze(this);
  }

  /** The server's own certificate, the first of the chain. */
  get leaf(): Certificate {
    return this.chain[0]!;
  }

  /** The public facts as a plain object. */
  toJSON(): TlsConfigFacts {
    const { chain, alpnProtocols, minVersion, clientAuth } = this;
    return {
      chain: chain.map((certificate) => certificate.toJSON()),
      alpnProtocols,
      minVersion,
      ...(clientAuth && { clientAuth: { mode: clientAuth.mode, ca: clientAuth.ca.map((ca) => ca.toJSON()) } }),
    };
  }
}

/** The configuration in the shape that the servers of all runtimes take. */
export function tlsOptions(config: TlsConfig): TlsServerOptions {
  const { chain, alpnProtocols, minVersion, clientAuth } = config;
  return {
    cert: chain.map(({ pem }) => pem).join(""),
    // The servers keep it where `console.log(socket)` finds it.
    key: showAs(Buffer.from(privateKeyPem(config)), () => HIDDEN_KEY),
    requestCert: clientAuth !== undefined,
    rejectUnauthorized: clientAuth?.mode === "required",
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    ...(clientAuth && { ca: clientAuth.ca.map(({ pem }) => pem) }),
    ...(alpnProtocols.length > 0 && { ALPNProtocols: wireForm(alpnProtocols) }),
    // Bun.serve() knows no names of versions: where the default says the same, it need not be told.
    ...(minVersion !== "TLSv1.2" && { minVersion }),
  };
}

/** The same for `node:tls`, whose default version a command-line flag may have lowered. */
export function serverOptions(config: TlsConfig): TlsServerOptions {
  return { ...tlsOptions(config), minVersion: config.minVersion };
}

/** The private key as plain PKCS#8 PEM. */
export function privateKeyPem(config: TlsConfig): string {
  return keyOf(config);
}

/** SHA-256 of everything that a configuration serves with, so that two can be compared. Not for showing. */
export function digestOf(config: TlsConfig): string {
  const { chain, alpnProtocols, minVersion, clientAuth } = config;
  const pemOf = (certificates: readonly Certificate[]) => certificates.map(({ pem }) => pem);
  const trust = clientAuth && [clientAuth.mode, pemOf(clientAuth.ca)];
  const whole = [pemOf(chain), privateKeyPem(config), alpnProtocols, minVersion, trust];
  return createHash("sha256").update(JSON.stringify(whole)).digest("hex");
}

/** Where the runtimes keep the key, or what holds it, in servers and sockets. */
const KEY_PLACES = new Set<string | undefined>([
  "key",
  "_secureContext",
  "_sharedCreds",
  "_tlsOptions",
  "::bunnetserveroptions::",
]);

/** Hides the key that a server or a socket keeps from `console.log()` and `console.dir()` of it. */
export function hideKey<T extends Server | TLSSocket>(keeper: T): T {
  const { _sharedCreds: context, ssl } = keeper as T & { _sharedCreds?: object; ssl?: object | null };
  if (context) showAs(context, () => HIDDEN_CONTEXT);
  for (const holder of [keeper, ssl ?? {}]) {
    for (const name of Reflect.ownKeys(holder)) {
      const place = typeof name === "symbol" ? name.description : name;
      if (KEY_PLACES.has(place)) Object.defineProperty(holder, name, { enumerable: false });
    }
  }
  return keeper;
}

/** The context that Node's `SNICallback` and `TLSSocket` take, built once for each configuration. */
export function secureContext(config: TlsConfig): SecureContext {
  return contextOf(config);
}

function wireForm(protocols: readonly string[]): Uint8Array {
  return Buffer.concat(protocols.map((name) => Buffer.from([name.length, ...Buffer.from(name)])));
}

function requireMatch(chain: readonly Certificate[], privateKey: KeyObject, { cert, key }: TlsConfigInit): void {
  const index = chain.findIndex(({ x509 }) => x509.checkPrivateKey(privateKey));
  if (index === 0) return;
  const path = pathOf(cert);
  const name = `the private key${location({ path: pathOf(key) })}`;
  const reason = index < 0
    ? `${name} matches no certificate of the chain`
    : `${name} matches certificate ${index + 1}, but the leaf must come first`;
  throw new TlsReloadError("KEY_MISMATCH", `Cannot use TLS config${location({ path })}: ${reason}`, { path });
}

function requireOption(name: string, value: string, allowed: readonly string[]): void {
  if (!allowed.includes(value)) {
    throw new TypeError(`Cannot use TLS config: '${name}' must be ${allowed.join(" or ")}: ${value}`);
  }
}

/** RFC 7301 section 3.1: a protocol name takes 1 to 255 bytes, the list of them 65,535 with their lengths. */
function requireProtocols(protocols: readonly string[]): void {
  if (!Array.isArray(protocols)) {
    throw new TypeError(`Cannot use TLS config: 'alpnProtocols' must be a list of names: ${JSON.stringify(protocols)}`);
  }
  const bad = protocols.find((name) => !/^[\x21-\x7e]{1,255}$/.test(name));
  if (bad !== undefined) {
    throw new TypeError(`Cannot use TLS config: 'alpnProtocols' must hold names: ${JSON.stringify(bad)}`);
  }
  const { length } = wireForm(protocols);
  if (length > 0xffff) {
    throw new TypeError(`Cannot use TLS config: 'alpnProtocols' must fit into 65535 bytes: ${length}`);
  }
}
