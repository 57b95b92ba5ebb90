import { createSecureContext, type SecureContext } from "node:tls";
import { NativeRootsError, TlsReloadError } from "../errors.ts";
import { type Certificate, parseCertificates } from "../x509/certificate.ts";
import { pathOf, type PemInput } from "../x509/pem.ts";
import { Root, type Roots } from "./root.ts";

/** A source of roots. */
export interface RootSource {
  /**
   * The origin of the source: an environment variable, the defaults of the operating system, a keychain of macOS, the
   * list of the runtime (on Windows), or {@linkcode RootCertStore.with}.
   */
  readonly origin: "SSL_CERT_FILE" | "SSL_CERT_DIR" | "default" | "keychain" | "runtime" | "added";
  /** The file, directory or keychain, if there is one. */
  readonly path: string | undefined;
  /** The number of certificates in the source, including those that another source holds as well. */
  readonly certificates: number;
}

/** The outcome of parsing. */
interface Parsed {
  readonly roots: Roots;
  readonly warnings: readonly TlsReloadError[];
}

/**
 * Trusted root certificates.
 *
 * Invariant: the store holds at least one root, and each root once. Immutable. Roots are parsed on first use. Sections
 * that are not certificates are left out and listed in {@linkcode RootCertStore.warnings}.
 *
 * A list of roots is less than the verifier of an operating system. Name constraints inside a root stay with it. What
 * the system knows beside a root is not kept: dates after which it is not trusted for new certificates, limits to some
 * hosts, and revoked certificates.
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

  /** The reasons for skipped content: an unreadable file, a broken section, a place that does not exist. */
  get warnings(): readonly TlsReloadError[] {
    return this.#parse().warnings;
  }

  /** Each root as clean PEM, for `ca` in Node and Bun and `caCerts` in Deno. */
  get pem(): string[] {
    // The types of all three runtimes require a mutable array, although no runtime writes to it.
    return (this.#pem ??= Object.freeze([...this.#roots.values()].map(({ x509 }) => x509!.toString()))) as string[];
  }

  /** All roots as one PEM text, for programs that read a file: curl, OpenSSL, Node with `NODE_EXTRA_CA_CERTS`. */
  get bundle(): string {
    return this.#bundle ??= this.pem.join("");
  }

  /** The roots with their facts. Leaves out roots that break RFC 5280, although the runtime trusts them. */
  *[Symbol.iterator](): IterableIterator<Certificate> {
    for (const { certificate } of this.#roots.values()) if (certificate) yield certificate;
  }

  /**
   * Whether the store holds a certificate.
   *
   * @param fingerprint256 SHA-256 of its DER in hexadecimal, with or without colons.
   */
  has(fingerprint256: string): boolean {
    this.#fingerprints ??= new Set([...this.#roots.values()].map(({ x509 }) => plain(x509!.fingerprint256)));
    return this.#fingerprints.has(plain(fingerprint256));
  }

  /**
   * Adds roots, such as those of a company.
   *
   * @param extraPem PEM with at least one certificate. Unlike in the files of the system, a broken section is an error.
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
   * Selects the roots that are valid at a moment. The store itself keeps expired roots, like the system.
   *
   * @param at The moment.
   * @default {new Date()}
   * @returns A new store; this store if all of its roots are valid.
   * @throws {NativeRootsError} If no root is valid, because Bun would replace an empty list by its own roots.
   */
  valid(at: Date = new Date()): RootCertStore {
    const valid = new Map([...this.#roots].filter(([, { certificate }]) => certificate?.isValidAt(at)));
    if (valid.size === this.size) return this;
    if (valid.size > 0) return new RootCertStore(valid, this.sources, this.warnings);
    const reason = `none of the ${this.size} is valid at ${at.toISOString()}`;
    throw new NativeRootsError([new TlsReloadError("NO_CERTIFICATE", `Cannot find a valid root: ${reason}`)]);
  }

  /**
   * Returns a context for `tls.connect()` and `https.Agent` of Node that trusts only these roots. It is built once. A
   * client that passes `ca` instead parses all roots again.
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
