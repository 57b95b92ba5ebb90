import { Buffer } from "node:buffer";
import { delimiter, isAbsolute, resolve, sep } from "node:path";
import { isPath } from "../arguments.ts";
import { TlsReloadError } from "../errors.ts";
import type { FileSystem } from "./files.ts";
import { keychainPlace } from "./keychain.ts";
import type { RootDocument, RootPlace } from "./place.ts";

/** The parts of a machine that roots are read from. Tests replace some of them. */
export interface RootSystem {
  /** The value of `process.platform`. */
  readonly platform: string;
  /** Reads a variable of the environment. */
  readonly env: (name: string) => string | undefined;
  readonly files: FileSystem;
  /** The path of the program `security` of macOS. */
  readonly security: string;
  /** The list of the runtime; `undefined` if the runtime has none. */
  readonly runtimeRoots: (() => readonly string[]) | undefined;
  /** Starts the time limit for one attempt. */
  readonly limit: () => TimeLimit;
}

/** The time limit of all places. */
export interface TimeLimit {
  /** Aborts at the time limit. */
  readonly signal: AbortSignal;
  /** Stops the timer once all places have answered, because it would keep the process alive. */
  end(): void;
}

/** The paths of openssl-probe 0.2, in its order, by `process.platform`. */
const DEFAULTS: Readonly<Record<string, { files: readonly string[]; directories: readonly string[] }>> = {
  linux: {
    files: [
      "/etc/ssl/certs/ca-certificates.crt", // Debian, Ubuntu, Gentoo, Arch
      "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // RHEL from 7 on
      "/etc/pki/tls/certs/ca-bundle.crt", // Fedora, RHEL 6
      "/etc/ssl/ca-bundle.pem", // openSUSE
      "/etc/pki/tls/cacert.pem", // OpenELEC
      "/etc/ssl/cert.pem", // Alpine
      "/opt/etc/ssl/certs/ca-certificates.crt", // Entware
    ],
    directories: ["/etc/ssl/certs", "/etc/pki/tls/certs"],
  },
  android: { files: ["/data/data/com.termux/files/usr/etc/tls/cert.pem"], directories: ["/etc/ssl/certs"] },
  freebsd: { files: ["/usr/local/etc/ssl/cert.pem"], directories: ["/etc/ssl/certs", "/usr/local/share/certs"] },
  dragonfly: { files: ["/usr/local/share/certs/ca-root-nss.crt"], directories: ["/etc/ssl/certs"] },
  netbsd: { files: ["/etc/openssl/certs/ca-certificates.crt"], directories: ["/etc/openssl/certs"] },
  openbsd: { files: ["/etc/ssl/cert.pem"], directories: ["/etc/ssl/certs"] },
  sunos: { files: ["/etc/ssl/cacert.pem", "/etc/certs/ca-certificates.crt"], directories: ["/etc/certs/CA"] },
  aix: { files: ["/etc/ssl/certs/ca-certificates.crt"], directories: ["/var/ssl/certs"] },
};

/** The places of the roots of a system, in the order of reading. */
export function rootPlaces(system: RootSystem): RootPlace[] {
  const { env, files, platform } = system;
  // An empty variable or element counts as not set, as in OpenSSL and Go.
  const named = [env("SSL_CERT_FILE") ?? ""].filter(isNotEmpty);
  const directories = (env("SSL_CERT_DIR") ?? "").split(delimiter).filter(isNotEmpty);
  if (!named.every(isPath)) return [unquotablePlace("SSL_CERT_FILE")];
  if (!directories.every(isPath)) return [unquotablePlace("SSL_CERT_DIR")];
  if (named.length + directories.length > 0) {
    return [
      ...named.map((path) => filePlace(files, path, "SSL_CERT_FILE")),
      ...directories.map((path) => directoryPlace(files, path, "SSL_CERT_DIR")),
    ];
  }
  if (platform === "darwin") return [keychainPlace(system.security)];
  if (platform === "win32") return [runtimePlace(system)];
  const defaults = DEFAULTS[platform] ?? DEFAULTS["linux"]!;
  return [
    ...defaults.files.map((path) => ({ ...filePlace(files, path, "default"), isAlternative: true })),
    ...defaults.directories.map((path) => directoryPlace(files, path, "default")),
  ];
}

function isNotEmpty(path: string): boolean {
  return path !== "";
}

/** The variable may hold PEM with a private key in place of a path, so the error does not quote it. */
function unquotablePlace(origin: "SSL_CERT_FILE" | "SSL_CERT_DIR"): RootPlace {
  const message = `Cannot read ${origin}: it holds PEM text or something else that is not a path`;
  return { origin, path: undefined, find: () => Promise.reject(new TlsReloadError("FILE_NOT_FOUND", message)) };
}

function filePlace(files: FileSystem, path: string, origin: RootPlace["origin"]): RootPlace {
  return {
    origin,
    path,
    find: async () => [{ path, id: await files.realPath(path), read: () => files.read(path) }],
  };
}

function directoryPlace(files: FileSystem, path: string, origin: RootPlace["origin"]): RootPlace {
  return {
    origin,
    path,
    async find() {
      const [directory, entries] = await Promise.all([files.realPath(path), files.list(path)]);
      const names = new Set(entries.map(({ name }) => name));
      const documents: RootDocument[] = [];
      for (const entry of entries) {
        const path = directory + sep + entry.name;
        const read = () => readEntry(files, path);
        if (entry.isFile()) documents.push({ path, id: path, read });
        if (!entry.isSymbolicLink()) continue;
        const target = linkTarget(files, path);
        // c_rehash creates a link with another name for each file in the same directory.
        if (names.has(target) && target !== entry.name) continue;
        documents.push({ path, id: isAbsolute(target) ? target : resolve(directory, target), read });
      }
      // Waits here, because the target of a link may be on a mount that does not answer.
      const homes = new Set(documents.map(({ id }) => id.slice(0, id.lastIndexOf(sep))));
      await Promise.allSettled([...homes].map((home) => files.realPath(home)));
      return documents;
    },
  };
}

/** Subdirectories are not searched, and dangling links are ignored. */
function readEntry(files: FileSystem, path: string): Uint8Array | undefined {
  try {
    return files.read(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EISDIR" || code === "ENOENT") return undefined;
    throw error;
  }
}

function linkTarget(files: FileSystem, path: string): string {
  try {
    return files.readLink(path);
  } catch {
    return path;
  }
}

function runtimePlace({ runtimeRoots }: RootSystem): RootPlace {
  return {
    origin: "runtime",
    path: undefined,
    find() {
      const path = "tls.getCACertificates()";
      if (runtimeRoots) {
        return Promise.resolve([{
          path,
          id: path,
          read: () => Buffer.from(runtimeRoots().join("\n")),
        }]);
      }
      const reason = `this runtime has no ${path}; use Node 22.15, Deno 2.8, Bun 1.4 or later`;
      return Promise.reject(new TlsReloadError("UNSUPPORTED", `Cannot read the roots of Windows: ${reason}`));
    },
  };
}
