import { createSecureContext, type SecureContext } from "node:tls";
import { type Certificate, parseCertificates } from "../x509/certificate.ts";
import { NativeRootsError, TlsReloadError } from "../errors.ts";
import { pathOf, type PemInput } from "../x509/pem.ts";
import { Root, type Roots } from "./root.ts";

/** Where roots come from. */
export interface RootSource {
  /**
   * How the source was found: by a variable of the environment, the defaults of the operating system, a keychain of macOS,
   * the runtime's own list (on Windows), or {@linkcode RootCertStore.with}.
   */
  readonly origin: "SSL_CERT_FILE" | "SSL_CERT_DIR" | "default" | "keychain" | "runtime" | "added";
  /** The file, directory or keychain, where there is one. */
  readonly path: string | undefined;
  /** How many certificates it holds, those included that another source holds as well. */
  readonly certificates: number;
}

/** The outcome of parsing. */
interface Parsed {
  readonly roots: Roots;
  readonly warnings: readonly TlsReloadError[];
}

/**
 * Trusted root certificates, each once, and at least one of them. Immutable.
 *
 * They are parsed on first use. Sections that are not certificates are left out and listed in
 * {@linkcode RootCertStore.warnings}.
 *
 * A list of roots is less than an operating system's own verifier, which also knows the date after which a root no longer
 * counts for new certificates, the hosts that a root is limited to, and revoked certificates.
 *
 * | client | trusts | given by |
 * | --- | --- | --- |
 * | `node:tls` and `node:https`, on all runtimes | these roots only | `secureContext: store.secureContext()` |
 * | undici | these roots only | `new Agent({ connect: { secureContext: store.secureContext() } })` |
 * | `fetch` of Bun | these roots only | `tls: { ca: store.pem }` |
 * | `fetch` and `connectTls` of Deno | these **and** the runtime's own | `createHttpClient({ caCerts: store.pem })` |
 *
 * @example
 * ```ts ignore
 * import tls from "node:tls";
 * import { nativeRoots } from "@x/tls-reload";
 *
 * const roots = await nativeRoots();
 * tls.connect({ host: "example.com", port: 443, servername: "example.com", secureContext: roots.secureContext() });
 * ```
 */
export class RootCertStore implements Iterable<Certificate> {
  /** The sources, in the order of reading. */
  readonly sources: readonly RootSource[];
  readonly #found: Roots;
  readonly #problems: readonly TlsReloadError[];
  #parsed: Parsed | undefined;
  #pem: readonly string[] | undefined;
  #bundle: string | undefined;
  #fingerprints: ReadonlySet<string> | undefined;
  #context: SecureContext | undefined;

  /**
   * @ignore
   * @param roots The certificates that were found.
   * @param sources Their sources.
   * @param problems The problems of reading them.
   */
  constructor(roots: Roots, sources: readonly RootSource[], problems: readonly TlsReloadError[]) {
    this.#found = roots;
    this.sources = Object.freeze([...sources]);
    this.#problems = problems;
    Object.freeze(this);
  }

  /** The number of roots, including expired ones. */
  get size(): number {
    return this.#roots.size;
  }

  /** What was skipped, with the reason: an unreadable file, a broken section, a place that does not exist. */
  get warnings(): readonly TlsReloadError[] {
    return this.#parse().warnings;
  }

  /** Each root as clean PEM: the shape of `ca` in Node and Bun and of `caCerts` in Deno. */
  get pem(): string[] {
    // The types of all three runtimes ask for a mutable array, but none of them writes to it.
    return (this.#pem ??= Object.freeze([...this.#roots.values()].map(({ x509 }) => x509!.toString()))) as string[];
  }

  /** All roots as one PEM text, for programs that read a file: curl, OpenSSL, Node with `NODE_EXTRA_CA_CERTS`. */
  get bundle(): string {
    return this.#bundle ??= this.pem.join("");
  }

  /** The roots with their facts, except those that the runtime trusts although their facts cannot be read. */
  *[Symbol.iterator](): IterableIterator<Certificate> {
    for (const { certificate } of this.#roots.values()) if (certificate) yield certificate;
  }

  /**
   * Whether a certificate is among the roots.
   *
   * @param fingerprint256 SHA-256 of its DER in hexadecimal, with or without colons.
   */
  has(fingerprint256: string): boolean {
    this.#fingerprints ??= new Set([...this.#roots.values()].map(({ x509 }) => plain(x509!.fingerprint256)));
    return this.#fingerprints.has(plain(fingerprint256));
  }

  /**
   * The same roots and others, such as a company's own.
   *
   * @param extraPem PEM with at least one certificate. Unlike the system's own files it must be sound.
   * @returns A new store.
   * @throws {TlsReloadError} `PEM_INVALID`, `NO_CERTIFICATE`, or `CERTIFICATE_INVALID`.
   */
  with(extraPem: PemInput): RootCertStore {
    const path = pathOf(extraPem);
    const added: Roots = new Map();
    for (const { x509 } of parseCertificates(extraPem)) {
      const base64 = x509.raw.toString("base64");
      added.set(base64, new Root(base64, path, added.size + 1));
    }
    const source: RootSource = { origin: "added", path, certificates: added.size };
    return new RootCertStore(new Map([...this.#found, ...added]), [...this.sources, source], this.#problems);
  }

  /**
   * The roots that are valid at a moment. The store itself keeps the expired ones, as the system does.
   *
   * @param at The moment.
   * @default {new Date()}
   * @returns A new store, or this one if all of its roots are.
   * @throws {NativeRootsError} If no root is valid: Bun would replace an empty list by its own roots.
   */
  valid(at: Date = new Date()): RootCertStore {
    const valid = new Map([...this.#roots].filter(([, { certificate }]) => certificate?.isValidAt(at)));
    if (valid.size === this.size) return this;
    if (valid.size > 0) return new RootCertStore(valid, this.sources, this.warnings);
    const reason = `none of the ${this.size} is valid at ${at.toISOString()}`;
    throw new NativeRootsError([new TlsReloadError("NO_CERTIFICATE", `Cannot find a valid root: ${reason}`)]);
  }

  /**
   * A context for `tls.connect()` and `https.Agent` of Node that trusts these roots and no others. It is built once,
   * whereas a client that passes `ca` instead parses all roots again.
   */
  secureContext(): SecureContext {
    return this.#context ??= createSecureContext({ ca: this.pem });
  }

  /** The number of roots, their sources and the warnings, for `JSON.stringify()`. */
  toJSON(): { size: number; sources: readonly RootSource[]; warnings: readonly string[] } {
    return { size: this.size, sources: this.sources, warnings: this.warnings.map(({ message }) => message) };
  }

  get #roots(): Roots {
    return this.#parse().roots;
  }

  #parse(): Parsed {
    if (this.#parsed) return this.#parsed;
    const roots = new Map([...this.#found].filter(([, { x509 }]) => x509));
    const invalid = [...this.#found.values()].flatMap(({ problem }) => problem ?? []);
    return this.#parsed = { roots, warnings: Object.freeze([...this.#problems, ...invalid]) };
  }
}

function plain(fingerprint256: string): string {
  return fingerprint256.replaceAll(":", "").toUpperCase();
}
