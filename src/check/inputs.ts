import { stat } from "node:fs/promises";
import { pairsIn } from "../config/certificates_in.ts";
import { type CertifiedKeyFiles, loadCertifiedKeys } from "../config/load_certified_keys.ts";
import { TlsReloadError } from "../errors.ts";
import { type Certificate, parseCertificates } from "../x509/certificate.ts";
import { type CertificateRevocationList, MAX_CRL_BYTES, parseCrls } from "../x509/crl.ts";
import { readSections } from "../x509/pem.ts";
import { filePath, readPemFile } from "../x509/pem_file.ts";
import { readPemSource } from "../x509/pem_source.ts";

/** The files of one certificate. */
export interface CheckFiles {
  /** The chain in PEM, the server's own certificate first. */
  readonly cert: string | URL;
  /** The private key; the same path as `cert` if one file holds both. Without it the chain alone is checked. */
  readonly key?: string | URL | undefined;
  /** The passphrase of an encrypted private key. */
  readonly passphrase?: string | undefined;
}

/** The files of a certificate, what they hold, and why they cannot be used. */
export interface LoadedFiles {
  readonly path: string;
  readonly keyPath: string | undefined;
  /** The certificates; none if they cannot be read. */
  readonly chain: readonly Certificate[];
  readonly error: TlsReloadError | undefined;
}

/**
 * The files that a path stands for: those of a folder, or one file with a certificate and perhaps its key.
 *
 * @throws {TlsReloadError} If the folder cannot be read or holds no pair.
 */
export async function filesAt(path: string): Promise<CheckFiles[]> {
  const contents = await contentsOf(path);
  if (contents !== "folder") return [contents === "both" ? { cert: path, key: path } : { cert: path }];
  const pairs = await pairsIn(path);
  // A folder of certbot holds the same chain in parts beside it.
  const fullChain = pairs.find(({ name }) => name === "fullchain");
  const key = pairs.find(({ name }) => name === "privkey");
  if (fullChain && key) return [{ ...fullChain, key: key.key }];
  if (pairs.length > 0) return pairs;
  const message = `Cannot find a certificate in "${path}": it holds no pair of files`;
  throw new TlsReloadError("NO_CERTIFICATE", message, { path });
}

/**
 * What a path holds.
 *
 * @returns `undefined` for a FIFO, which can be read only once, and for a path whose content cannot be read or
 * recognised.
 */
export async function contentsOf(path: string): Promise<"folder" | "certificate" | "key" | "both" | undefined> {
  try {
    const stats = await stat(path);
    if (stats.isDirectory()) return "folder";
    if (!stats.isFile()) return undefined;
    const labels = readSections(await readPemFile(path)).map(({ label }) => label);
    const holdsCertificate = labels.some((label) => label.endsWith("CERTIFICATE"));
    const holdsKey = labels.some((label) => label.endsWith("PRIVATE KEY"));
    if (holdsCertificate && holdsKey) return "both";
    if (holdsKey) return "key";
    return holdsCertificate ? "certificate" : undefined;
  } catch {
    return undefined; // loading reports the error
  }
}

/** Reads files, in their order. Files that cannot be read do not stop the others. */
export async function loadFiles(entries: readonly CheckFiles[]): Promise<LoadedFiles[]> {
  const errors = new Map<CheckFiles, TlsReloadError>();
  const pairs = entries.filter((entry): entry is CertifiedKeyFiles => entry.key !== undefined);
  const certifiedKeys = await loadCertifiedKeys(pairs, (error, entry) => {
    errors.set(entry as CheckFiles, requireTyped(error));
    return undefined;
  });
  // The certified keys are in the order of the pairs that could be loaded.
  const loadedPairs = pairs.filter((pair) => !errors.has(pair));
  const chains = new Map<CheckFiles, readonly Certificate[]>();
  for (const [index, { chain }] of certifiedKeys.entries()) chains.set(loadedPairs[index]!, chain);
  const loaded: LoadedFiles[] = [];
  for (const entry of entries) {
    const path = filePath(entry.cert);
    const keyPath = entry.key === undefined ? undefined : filePath(entry.key);
    const chain = chains.get(entry) ?? await chainOf(entry, errors);
    loaded.push({ path, keyPath, chain, error: errors.get(entry) });
  }
  return loaded;
}

/** The client authorities of a file. */
export async function loadAuthorities(path: string | URL): Promise<Certificate[]> {
  return parseCertificates(await readPemSource(path));
}

/** The revocation lists of a file. */
export async function loadCrls(path: string | URL): Promise<CertificateRevocationList[]> {
  return parseCrls(await readPemSource(path, { maxBytes: MAX_CRL_BYTES }));
}

/** Narrows an error of loading. Throws errors that are not about a file. */
export function requireTyped(error: unknown): TlsReloadError {
  if (error instanceof TlsReloadError) return error;
  throw error;
}

/** The chain of files whose key is absent or unusable. Adds an error to the errors if the chain cannot be read. */
async function chainOf(entry: CheckFiles, errors: Map<CheckFiles, TlsReloadError>): Promise<readonly Certificate[]> {
  try {
    // A FIFO that was read with its key is empty now. A second read would wait for another writer.
    return parseCertificates(await (errors.has(entry) ? readPemFile(entry.cert) : readPemSource(entry.cert)));
  } catch (error) {
    const typed = requireTyped(error);
    if (!errors.has(entry)) errors.set(entry, typed);
    return [];
  }
}
