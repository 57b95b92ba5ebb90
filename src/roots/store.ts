import { createSecureContext, type SecureContext } from "node:tls";
import { type Certificate, parseCertificates } from "../x509/certificate.ts";
import { NativeRootsError, TlsReloadError } from "../errors.ts";
import { pathOf, type PemInput } from "../x509/pem.ts";
import { Root, type Roots } from "./root.ts";

/** Where roots come from. */
export interface RootSource {
  /**
   * What named the source: a variable of the environment, the defaults of the operating system, a keychain of macOS,
   * the runtime's own list (on Windows), or {@linkcode RootCertStore.with}.
   */
  readonly origin: "SSL_CERT_FILE" | "SSL_CERT_DIR" | "default" | "keychain" | "runtime" | "added";
  /** The file, directory or keychain, where there is one. */
  readonly path: string | undefined;
  /** How many certificates it holds, those included that another source holds as well. */
  readonly certificates: number;
}

/** What parsing tells. */
interface Parsed {
  readonly roots: Roots;
  readonly warnings: readonly TlsReloadError[];
}

/**
 * Trusted root certificates, each once, and at least one of them. Immutable.
 *
 * They are parsed when they are first asked for; certificates that turn out to be none are left out and listed in
 * {@linkcode RootCertStore.warnings}.
 *
 * A list of roots is less than an operating system's own verifier, which also knows dates after which a root no longer
 * counts for new certificates, hosts that a root is limited to, and what has been revoked.
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
  /** Where they come from, in the order in which they were read. */
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
   * @param roots What was found.
   * @param sources Where.
   * @param problems What was wrong on the way.
   */
  constructor(roots: Roots, sources: readonly RootSource[], problems: readonly TlsReloadError[]) {
    this.#found = roots;
    this.sources = Object.freeze([...sources]);
    this.#problems = problems;
    Object.freeze(this);
  }

  /** How many roots there are, the expired ones included. */
  get size(): number {
    return this.#roots.size;
  }

  /** What was skipped and why: an unreadable file, a broken section, a place that does not exist. */
  get warnings(): readonly TlsReloadError[] {
    return this.#parse().warnings;
  }

  /** Each root as clean PEM: the shape of `ca` in Node and Bun and of `caCerts` in Deno. */
  get pem(): string[] {
    // The types of all three ask for a mutable array, and none of them writes to it.
    return (this.#pem ??= Object.freeze([...this.#roots.values()].map(({ x509 }) => x509!.toString()))) as string[];
  }

  /** All roots as one PEM text, for what reads a file: curl, OpenSSL, `NODE_EXTRA_CA_CERTS`. */
  get bundle(): string {
    return this.#bundle ??= this.pem.join("");
  }

  /** The roots with their facts. Those are left out that the runtime trusts although their facts cannot be read. */
  *[Symbol.iterator](): IterableIterator<Certificate> {
    for (const { certificate } of this.#roots.values()) if (certificate) yield certificate;
  }

  /**
   * Tells whether a certificate is among the roots.
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
   * @throws {NativeRootsError} If none is: Bun takes an empty list for its own roots.
   */
  valid(at: Date = new Date()): RootCertStore {
    const valid = new Map([...this.#roots].filter(([, { certificate }]) => certificate?.isValidAt(at)));
    if (valid.size === this.size) return this;
    if (valid.size > 0) return new RootCertStore(valid, this.sources, this.warnings);
    const reason = `none of the ${this.size} is valid at ${at.toISOString()}`;
    throw new NativeRootsError([new TlsReloadError("NO_CERTIFICATE", `Cannot find a valid root: ${reason}`)]);
  }

  /**
   * A context for `tls.connect()` and `https.Agent` of Node that trusts these roots and no others. It is built once:
   * a client that passes `ca` instead has them all parsed again.
   */
  secureContext(): SecureContext {
    return this.#context ??= createSecureContext({ ca: this.pem });
  }

  /** What `console.log(JSON.stringify(store))` shows: how many roots, where they come from, what was skipped. */
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
