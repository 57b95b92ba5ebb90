import { setImmediate, setTimeout as delay } from "node:timers/promises";
import { NativeRootsError, TlsReloadError } from "../errors.ts";
import { readBundle } from "./bundle.ts";
import { isAbsent, isTemporary, nameOf, readFailure, type RootDocument, type RootPlace } from "./place.ts";
import type { Roots } from "./root.ts";
import { rootPlaces, type RootSystem, type TimeLimit } from "./sources.ts";
import { RootCertStore, type RootSource } from "./store.ts";

const MAX_ATTEMPTS = 3;
const PAUSE_MS = 50;
const TIME_LIMIT_MS = 10_000;
/** The number of files that are read in one turn of the event loop. */
const FILES_PER_TURN = 50;

/**
 * Reads the roots of a system. Retries twice after temporary errors.
 *
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
        const problem = readFailure(nameOf(place), place.path, finding.reason);
        if (isAbsent(place, finding.reason)) this.empty.push(problem);
        else this.problems.push(problem);
      }
    }
  }

  async #readPlace(place: RootPlace, documents: readonly RootDocument[]): Promise<void> {
    const { origin, path } = place;
    const problemsBefore = this.problems.length;
    let certificates = 0;
    for (const document of documents) {
      if (!this.#counts.has(document.id)) {
        this.#counts.set(document.id, this.#readDocument(place, document));
        if (this.#counts.size % FILES_PER_TURN === 0) await setImmediate();
      }
      certificates += this.#counts.get(document.id)!;
    }
    this.sources.push({ origin, path, certificates });
    if (certificates === 0 && this.problems.length === problemsBefore) {
      const message = `Cannot find a certificate in ${nameOf(place)}: it holds none`;
      const problem = new TlsReloadError("NO_CERTIFICATE", message, { path });
      if (origin === "default") this.empty.push(problem);
      else this.problems.push(problem);
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
      report(readFailure(path === place.path ? nameOf(place) : `"${path}"`, path, cause));
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

async function settled<T>(promise: Promise<T>): Promise<PromiseSettledResult<T>> {
  const [result] = await Promise.allSettled([promise]);
  return result;
}
