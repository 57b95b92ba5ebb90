import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { isPath, requireOptions, requireOptionTypes, requirePath } from "../arguments.ts";
import { TlsReloadError } from "../errors.ts";
import { isMissing, readFailureReason } from "../file_errors.ts";
import { LongTask } from "../long_task.ts";
import { warn } from "../warnings.ts";
import { filePath } from "../x509/pem_file.ts";
import type { CertifiedKey } from "./certified_key.ts";
import { type FolderFiles, loadCertifiedKeys } from "./load_certified_keys.ts";
import { TlsConfig } from "./tls_config.ts";

/** The options of {@linkcode certificatesIn}. */
export interface CertificatesInOptions {
  /** The current configuration. If a pair cannot be loaded, its certified key of this configuration is kept. */
  readonly previous?: TlsConfig | undefined;
  /**
   * Called for each pair that cannot be loaded, with its path.
   *
   * @default Emits a process warning.
   */
  readonly onError?: ((error: TlsReloadError) => void) | undefined;
}

/** A certificate and its key in a folder. Pairs are sorted by their name. */
interface Pair extends FolderFiles {
  readonly name: string;
  readonly cert: string;
  readonly key: string;
}

const DEFAULT_NAME = "default";

/**
 * Reads all certificates of a folder with their keys: `name.pem` with both, `name.crt` with `name.key`, and folders of
 * certbot, `name/fullchain.pem` with `name/privkey.pem`. Sorts them by name, `default` first. Ignores names that begin
 * with a dot, `lost+found`, and names that no path of this module can have, such as names with line breaks.
 *
 * A pair that cannot be loaded does not stop the others. It is reported, and its certified key of the previous
 * configuration is kept. A FIFO is such a pair too, and is not waited for. A pair is removed once both of its files are
 * removed.
 *
 * @param folder The folder.
 * @param options The current configuration, and a callback for errors.
 * @returns The certified keys, for {@linkcode loadTlsConfig} or {@linkcode TlsConfig}.
 * @throws {TlsReloadError} `FILE_NOT_FOUND` or `FILE_UNREADABLE` if the folder cannot be read, `NO_CERTIFICATE` if it
 * holds no pair, or the error of the first pair if no pair can be loaded.
 * @throws {TypeError} If the folder is not a path, or an option is unknown or invalid.
 *
 * @example
 * ```ts ignore
 * import { certificatesIn, loadTlsConfig, TlsState } from "@x/tls-reload";
 *
 * const load = async (previous?: TlsConfig) => loadTlsConfig(await certificatesIn("certs.d", { previous }));
 * const state = new TlsState(await load());
 * state.swap(await load(state.current()));
 * ```
 */
export async function certificatesIn(
  folder: string | URL,
  options: CertificatesInOptions = {},
): Promise<CertifiedKey[]> {
  requirePath("certificatesIn", "folder", folder);
  requireOptions("certificatesIn", options, ["previous", "onError"]);
  requireOptionTypes("certificatesIn", options, { onError: "a function" });
  const { previous, onError = warn } = options;
  if (previous !== undefined && !(previous instanceof TlsConfig)) {
    throw new TypeError("Cannot call certificatesIn: 'previous' must be a TlsConfig");
  }
  const path = filePath(folder);
  const pairs = await pairsIn(path);
  if (pairs.length === 0) {
    const message = `Cannot find a certificate in "${path}": it holds no pair of files`;
    throw new TlsReloadError("NO_CERTIFICATE", message, { path });
  }
  const kept = new Map(previous?.certifiedKeys.map((certifiedKey) => [certifiedKey.path, certifiedKey]));
  const errors: unknown[] = [];
  const certifiedKeys = await loadCertifiedKeys(pairs, (error, { cert }) => {
    if (!(error instanceof TlsReloadError)) throw error;
    errors.push(error);
    onError(error);
    return kept.get(cert);
  });
  if (certifiedKeys.length === 0) throw errors[0];
  return certifiedKeys;
}

/**
 * The pairs of a folder, in the order of their names. Does not read the files.
 *
 * @throws {TlsReloadError} `FILE_NOT_FOUND` or `FILE_UNREADABLE`.
 */
export async function pairsIn(folder: string): Promise<Pair[]> {
  // A certificate and its key are two entries of one pair, which has one sort key. Strings are sorted without a
  // comparator, which would block the event loop for thousands of pairs.
  const pairs = new Map<string, Pair>();
  const task = new LongTask();
  for (const entry of await namesIn(folder)) {
    await task.pause();
    if (isIgnored(entry) || !isPath(join(folder, entry))) continue;
    const pair = await pairOf(folder, entry);
    if (pair) pairs.set(sortKeyOf(pair), pair);
  }
  return [...pairs.keys()].sort().map((sortKey) => pairs.get(sortKey)!);
}

/** Whether an entry of a folder is ignored. `lost+found` is in each volume of Linux, and only root may read it. */
export function isIgnored(entry: string): boolean {
  return entry.startsWith(".") || entry === "lost+found";
}

/** The pair that an entry of a folder belongs to. */
async function pairOf(folder: string, entry: string): Promise<Pair | undefined> {
  const [, name, extension] = /^(.+)\.(pem|crt|key)$/.exec(entry) ?? [];
  if (name !== undefined) {
    const path = join(folder, name);
    return extension === "pem"
      ? { folder, name, cert: `${path}.pem`, key: `${path}.pem` }
      : { folder, name, cert: `${path}.crt`, key: `${path}.key` };
  }
  const path = join(folder, entry);
  if (!await holdsPair(path)) return undefined;
  return { folder, name: entry, cert: join(path, "fullchain.pem"), key: join(path, "privkey.pem") };
}

function sortKeyOf({ name, cert }: Pair): string {
  return `${name === DEFAULT_NAME ? 0 : 1}${name}\0${cert}`;
}

/**
 * Whether a path is a folder of certbot. One of the two files may be missing. A folder that cannot be read counts as
 * one, so that it is reported, and its previous pair is kept.
 */
async function holdsPair(path: string): Promise<boolean> {
  const isDirectory = await stat(path).then((stats) => stats.isDirectory(), () => false);
  if (!isDirectory) return false;
  const names = await readdir(path).catch(() => undefined);
  return names === undefined || names.includes("fullchain.pem") || names.includes("privkey.pem");
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (cause) {
    const [code, reason] = isMissing(cause)
      ? ["FILE_NOT_FOUND", "no such folder"] as const
      : ["FILE_UNREADABLE", readFailureReason(folder, cause)] as const;
    throw new TlsReloadError(code, `Cannot read "${folder}": ${reason}`, { cause, path: folder });
  }
}
