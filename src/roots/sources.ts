import { Buffer } from "node:buffer";
import { delimiter, isAbsolute, resolve, sep } from "node:path";
import { isPath } from "../arguments.ts";
import { TlsReloadError } from "../errors.ts";
import type { FileSystem } from "./files.ts";
import { keychainPlace } from "./keychain.ts";
import type { RootDocument, RootPlace } from "./place.ts";

/** The parts of a machine that roots are read from. Tests replace some of them to make them fail. */
export interface RootSystem {
  /** As `process.platform`. */
  readonly platform: string;
  /** Reads a variable of the environment. */
  readonly env: (name: string) => string | undefined;
  readonly files: FileSystem;
  /** The path of the program `security` of macOS. */
  readonly security: string;
  /** The runtime's own list; `undefined` if it has none. */
  readonly runtimeRoots: (() => readonly string[]) | undefined;
  /** Starts the time limit for the answers of places. */
  readonly limit: () => TimeLimit;
}

/** The time that places may take to answer. */
export interface TimeLimit {
  /** Aborts when it is over. */
  readonly signal: AbortSignal;
  /** Stops the timer, which would keep the process alive, once all places have answered. */
  end(): void;
}

/** By `process.platform`: the paths that openssl-probe 0.2 lists, in its order. */
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

/**
 * The places where the roots of a system are.
 *
 * @param system The system.
 * @returns The places, in the order of reading.
 */
export function rootPlaces(system: RootSystem): RootPlace[] {
  const { env, files, platform } = system;
  // As for OpenSSL and Go, an empty variable or element is one that is not set.
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

/** A variable may hold PEM, with a key in it, where a path belongs. It is not shown. */
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
        const target = entry.isSymbolicLink() ? linkTarget(files, path) : undefined;
        // c_rehash gives each file of a directory a second name there.
        if (target === undefined ? !entry.isFile() : names.has(target) && target !== entry.name) continue;
        const id = target === undefined || isAbsolute(target) ? target ?? path : resolve(directory, target);
        documents.push({ path, id, read: () => readEntry(files, path) });
      }
      // The target of a link may be on a mount that does not answer.
      const homes = new Set(documents.map(({ id }) => id.slice(0, id.lastIndexOf(sep))));
      await Promise.allSettled([...homes].map((home) => files.realPath(home)));
      return documents;
    },
  };
}

/** Subdirectories are not searched, and a dangling link holds nothing. */
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
