import { setImmediate, setTimeout as delay } from "node:timers/promises";
import { NativeRootsError, TlsReloadError, type TlsReloadErrorCode } from "../errors.ts";
import { readFailureReason } from "../file_errors.ts";
import { readBundle } from "./bundle.ts";
import { MAX_BYTES } from "./files.ts";
import type { RootDocument, RootPlace } from "./place.ts";
import type { Roots } from "./root.ts";
import { rootPlaces, type RootSystem, type TimeLimit } from "./sources.ts";
import { RootCertStore, type RootSource } from "./store.ts";

const MAX_ATTEMPTS = 3;
const PAUSE_MS = 50;
const TIME_LIMIT_MS = 10_000;
/** The number of files that are read in one turn of the event loop. */
const FILES_PER_TURN = 50;
/** The codes of temporary errors: too many open files, an interrupted call, a mount that comes back. */
const TEMPORARY = new Set<unknown>(
  ["EAGAIN", "EBUSY", "EINTR", "EIO", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ESTALE", "ETIMEDOUT"],
);
const CODES: Readonly<Record<string, TlsReloadErrorCode>> = { ENOENT: "FILE_NOT_FOUND", EFBIG: "FILE_TOO_LARGE" };
/** The message of Deno's NotCapable names the denied access and the flag that permits it. */
const NOT_CAPABLE = /access to "([^"]+)".*(--allow-\w+)/;
const ABSENT = new Set<unknown>(["ENOENT", "ENOTDIR", "ERR_ACCESS_DENIED"]);
/** Reasons by the error code of the system, with the same text on every system. */
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "no such file or directory",
  ENOTDIR: "not a directory",
  EISDIR: "not a file but a directory",
  EACCES: "this process has no permission to read it",
  EPERM: "this process has no permission to read it",
  ELOOP: "its links lead in a circle",
  EFBIG: `larger than ${MAX_BYTES} bytes`,
};

/**
 * Reads the roots of a system. Retries twice after temporary errors.
 *
 * @param system The system.
 * @returns A store with at least one root.
 * @throws {NativeRootsError} If no root is found.
 */
export async function loadRoots(system: RootSystem): Promise<RootCertStore> {
  const places = placesOf(system);
  for (let attempt = 1;; attempt++) {
    const reading = new Reading();
    const limit = system.limit();
    await reading.readAll(places, limit.signal).finally(limit.end);
    const { roots, sources, problems, empty } = reading;
    if (attempt === MAX_ATTEMPTS || !problems.some(isTemporary)) {
      const store = new RootCertStore(roots, sources, problems);
      if ([...roots.values()].some(({ x509 }) => x509)) return store;
      throw new NativeRootsError([...store.warnings, ...empty]);
    }
    await delay(PAUSE_MS);
  }
}

/** Starts the time limit for the answers of the places of a machine. */
export function timeLimit(): TimeLimit {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), TIME_LIMIT_MS);
  return { signal: limit.signal, end: () => clearTimeout(timer) };
}

/**
 * One attempt to read all places.
 *
 * Invariant: each document is read once, even if several places hold it. A place that cannot be read is a problem, not
 * an error, so the other places still count.
 */
class Reading {
  readonly roots: Roots = new Map();
  readonly sources: RootSource[] = [];
  readonly problems: TlsReloadError[] = [];
  /** Default places without certificates. They are a problem only if no place holds certificates. */
  readonly empty: TlsReloadError[] = [];
  /** The number of certificates in each document, by the identity of the document. */
  readonly #counts = new Map<string, number>();

  /** Asks all places at once, up to the time limit. Reads the documents in the order of the places. */
  async readAll(places: readonly RootPlace[], signal: AbortSignal): Promise<void> {
    const overdue = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(new Error(`no answer within ${TIME_LIMIT_MS} ms`)));
    });
    const ask = (place: RootPlace) => settled(Promise.race([place.find(signal), overdue]));
    const asked = new Map(places.filter((place) => !place.isAlternative).map((place) => [place, ask(place)]));
    let hasAlternative = false;
    for (const place of places) {
      if (place.isAlternative && hasAlternative) continue;
      const finding = await (asked.get(place) ?? ask(place));
      if (finding.status === "fulfilled") {
        hasAlternative ||= place.isAlternative === true;
        await this.#readPlace(place, finding.value);
      } else {
        const problem = failure(nameOf(place), place.path, finding.reason);
        (isAbsent(place, finding.reason) ? this.empty : this.problems).push(problem);
      }
    }
  }

  async #readPlace(place: RootPlace, documents: readonly RootDocument[]): Promise<void> {
    const { origin, path } = place;
    const problems = this.problems.length;
    let certificates = 0;
    for (const document of documents) {
      if (!this.#counts.has(document.id)) {
        this.#counts.set(document.id, this.#readDocument(place, document));
        if (this.#counts.size % FILES_PER_TURN === 0) await setImmediate();
      }
      certificates += this.#counts.get(document.id)!;
    }
    this.sources.push({ origin, path, certificates });
    if (certificates === 0 && this.problems.length === problems) {
      const message = `Cannot find a certificate in ${nameOf(place)}: it holds none`;
      (origin === "default" ? this.empty : this.problems).push(new TlsReloadError("NO_CERTIFICATE", message, { path }));
    }
  }

  /** Reads one document and returns the number of its certificates. */
  #readDocument(place: RootPlace, document: RootDocument): number {
    const { path } = document;
    const report = (problem: TlsReloadError) => this.problems.push(problem);
    try {
      const bytes = document.read();
      if (!bytes) return 0;
      if (!document.trusts) return readBundle({ path, bytes }, this.roots, report);
      const held: Roots = new Map();
      readBundle({ path, bytes }, held, report);
      const trusted = [...held].filter(([, { der }]) => document.trusts!(der));
      for (const [base64, root] of trusted) this.roots.set(base64, root);
      return trusted.length;
    } catch (cause) {
      report(failure(path === place.path ? nameOf(place) : `"${path}"`, path, cause));
      return 0;
    }
  }
}

function placesOf(system: RootSystem): RootPlace[] {
  try {
    return rootPlaces(system);
  } catch (cause) {
    const message = "Cannot read the environment: Deno needs --allow-env=SSL_CERT_FILE,SSL_CERT_DIR";
    throw new NativeRootsError([new TlsReloadError("NATIVE_ROOTS_UNAVAILABLE", message, { cause })]);
  }
}

/** A default place counts as absent if the permissions of the runtime hide it, because it may not exist. */
function isAbsent({ origin }: RootPlace, cause: unknown): boolean {
  const { code, name } = cause as NodeJS.ErrnoException;
  return origin === "default" && (ABSENT.has(code) || name === "NotCapable");
}

function isTemporary({ cause }: TlsReloadError): boolean {
  const { code } = (cause ?? {}) as { code?: unknown };
  // A number is the exit code of a program. The keychains may be busy.
  return TEMPORARY.has(code) || typeof code === "number";
}

function failure(name: string, path: string | undefined, cause: unknown): TlsReloadError {
  if (cause instanceof TlsReloadError) return cause;
  const error = cause as NodeJS.ErrnoException;
  const [, access, flag] = error.name === "NotCapable" ? NOT_CAPABLE.exec(error.message) ?? [] : [];
  const reason = flag ? `Deno needs ${flag}=${access}` : reasonOf(path, error);
  const text = `Cannot read ${name}: ${reason}`;
  return new TlsReloadError(CODES[error.code ?? ""] ?? "FILE_UNREADABLE", text, { cause, path });
}

function reasonOf(path: string | undefined, cause: NodeJS.ErrnoException): string {
  const { code, message } = cause;
  if (typeof code !== "string") return message;
  return REASONS[code] ?? readFailureReason(path, cause);
}

function nameOf({ origin, path }: RootPlace): string {
  if (path === undefined) return origin === "keychain" ? "the keychains" : "the runtime's list";
  return origin === "default" ? `"${path}"` : `${origin} "${path}"`;
}

async function settled<T>(promise: Promise<T>): Promise<PromiseSettledResult<T>> {
  const [result] = await Promise.allSettled([promise]);
  return result;
}
