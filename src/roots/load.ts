import { setImmediate, setTimeout as pause } from "node:timers/promises";
import { NativeRootsError, TlsReloadError } from "../errors.ts";
import { readBundle } from "./bundle.ts";
import type { RootDocument, RootPlace } from "./place.ts";
import type { Roots } from "./root.ts";
import { rootPlaces, type RootSystem, type TimeLimit } from "./sources.ts";
import { RootCertStore, type RootSource } from "./store.ts";

const MAX_ATTEMPTS = 3;
const PAUSE_MS = 50;
const TIME_LIMIT_MS = 10_000;
/** How many files are read before the event loop gets its turn. */
const FILES_PER_TURN = 50;
/** What may be over a moment later: too many open files, an interrupted call, a mount that comes back. */
const PASSING = new Set<unknown>(
  ["EAGAIN", "EBUSY", "EINTR", "EIO", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ESTALE", "ETIMEDOUT"],
);
/** What Deno has not been permitted, and the flag that would permit it. */
const NOT_CAPABLE = /access to "([^"]+)".*(--allow-\w+)/;
/** What an error of the system means, in words that are the same on all of them. */
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "no such file or directory",
  ENOTDIR: "not a directory",
  EISDIR: "not a file but a directory",
  EACCES: "this process has no permission to read it",
  EPERM: "this process has no permission to read it",
  ELOOP: "its links lead in a circle",
};

/**
 * Reads the roots of a system; up to three times, if there are errors that can pass.
 *
 * @param system The system.
 * @returns A store with at least one root.
 * @throws {NativeRootsError} If there is none.
 */
export async function loadRoots(system: RootSystem): Promise<RootCertStore> {
  const places = placesOf(system);
  for (let attempt = 1;; attempt++) {
    const reading = new Reading();
    const limit = system.limit();
    await reading.readAll(places, limit.signal).finally(limit.end);
    const { roots, sources, problems, empty } = reading;
    if (attempt === MAX_ATTEMPTS || !problems.some(canPass)) {
      const store = new RootCertStore(roots, sources, problems);
      if ([...roots.values()].some(({ x509 }) => x509)) return store;
      throw new NativeRootsError([...store.warnings, ...empty]);
    }
    await pause(PAUSE_MS);
  }
}

/** Begins the time that the places of a machine may take to answer. */
export function timeLimit(): TimeLimit {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), TIME_LIMIT_MS);
  return { signal: limit.signal, end: () => clearTimeout(timer) };
}

/** One attempt. */
class Reading {
  readonly roots: Roots = new Map();
  readonly sources: RootSource[] = [];
  readonly problems: TlsReloadError[] = [];
  /** Which of the default places hold nothing: a problem only where all do. */
  readonly empty: TlsReloadError[] = [];
  /** How many certificates each document holds that has been read, by its identity. */
  readonly #counts = new Map<string, number>();

  /** Asks all places at once, and waits for none beyond the time limit; what they find is read in their order. */
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

  /** Reads one document; the number of its certificates is the answer. */
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

/** A default place that Deno does not let us look at may exist or not: it is left out, as any sandbox leaves it out. */
function isAbsent({ origin }: RootPlace, cause: unknown): boolean {
  const { code, name } = cause as NodeJS.ErrnoException;
  return origin === "default" && (code === "ENOENT" || code === "ENOTDIR" || name === "NotCapable");
}

function canPass({ cause }: TlsReloadError): boolean {
  const { code } = (cause ?? {}) as { code?: unknown };
  // A number is what a program has ended with: the keychains may be busy.
  return PASSING.has(code) || typeof code === "number";
}

function failure(name: string, path: string | undefined, cause: unknown): TlsReloadError {
  if (cause instanceof TlsReloadError) return cause;
  const { code, name: kind, message } = cause as NodeJS.ErrnoException;
  const [, what, flag] = (kind === "NotCapable" && NOT_CAPABLE.exec(message)) || [];
  const words = typeof code === "string" ? REASONS[code] ?? `the system says ${code}` : message;
  const reason = flag ? `Deno needs ${flag}=${what}` : words;
  const text = `Cannot read ${name}: ${reason}`;
  return new TlsReloadError(code === "ENOENT" ? "FILE_NOT_FOUND" : "FILE_UNREADABLE", text, { cause, path });
}

function nameOf({ origin, path }: RootPlace): string {
  if (path === undefined) return origin === "keychain" ? "the keychains" : "the runtime's list";
  return origin === "default" ? `"${path}"` : `${origin} "${path}"`;
}

async function settled<T>(promise: Promise<T>): Promise<PromiseSettledResult<T>> {
  const [result] = await Promise.allSettled([promise]);
  return result;
}
