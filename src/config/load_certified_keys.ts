import { hash } from "node:crypto";
import { forEachConcurrently } from "../concurrently.ts";
import { LongTask } from "../long_task.ts";
import { WeakCache } from "../weak_cache.ts";
import type { PemFile } from "../x509/pem.ts";
import { filePath } from "../x509/pem_file.ts";
import { PemSource } from "../x509/pem_source.ts";
import { CertifiedKey, certifiedKeyOf, decryptedCertifiedKeyOf } from "./certified_key.ts";
import { proveBySignature } from "./key_proof.ts";

/** The files of a certified key. */
export interface CertifiedKeyFiles {
  /** The chain in PEM, the server's own certificate first. */
  readonly cert: string | URL;
  /** The private key in PEM; the same path as `cert` if one file holds both. */
  readonly key: string | URL;
  /** The passphrase of an encrypted private key. */
  readonly passphrase?: string | undefined;
}

/** The files of a certified key that were found in a folder. There a FIFO is a mistake, and nothing writes to it. */
export interface FolderFiles extends CertifiedKeyFiles {
  readonly folder: string;
}

/** The number of certified keys that are read at once, enough to keep the disk busy. */
const READERS = 32;
/** The last certified keys of files, by the path of their chain. */
const loaded = new WeakCache<CertifiedKey>();
/** Identifies the files that a certified key was read from, and their content. */
const stamps = new WeakMap<CertifiedKey, string>();

/**
 * Reads several certified keys at once, and parses and proves them in pieces, so that no turn of the event loop takes
 * long. Files that are unchanged since an earlier load are not read again if their certified key is still in use. A
 * certified key that is alone is not proved, because the configuration proves its first one by a handshake.
 *
 * @param entries The files of the certified keys, or certified keys.
 * @param recover Called with each error. Returns a replacement for the certified key, `undefined` to leave it out, or
 * throws.
 * @returns The certified keys, in the same order.
 */
export async function loadCertifiedKeys<Entry extends CertifiedKeyFiles | CertifiedKey>(
  entries: readonly Entry[],
  recover: (error: unknown, entry: Entry) => CertifiedKey | undefined = (error) => {
    throw error;
  },
): Promise<CertifiedKey[]> {
  const certifiedKeys: (CertifiedKey | undefined)[] = [];
  const task = new LongTask();
  await forEachConcurrently(entries, READERS, async (entry, index) => {
    try {
      const certifiedKey = entry instanceof CertifiedKey ? entry : await loadCertifiedKey(entry, task);
      if (entries.length > 1) proveBySignature(certifiedKey);
      certifiedKeys[index] = certifiedKey;
    } catch (error) {
      certifiedKeys[index] = recover(error, entry);
    }
  });
  return certifiedKeys.filter((certifiedKey) => certifiedKey !== undefined);
}

async function loadCertifiedKey(files: CertifiedKeyFiles | FolderFiles, task: LongTask): Promise<CertifiedKey> {
  const { cert, key, passphrase } = files;
  const chain = await PemSource.find(cert);
  const privateKey = filePath(key) === chain.path ? chain : await PemSource.find(key);
  const stamp = stampOf(chain, privateKey, passphrase);
  const known = loaded.get(chain.path);
  if (known && stamp !== undefined && stamps.get(known) === stamp) return known;

  const options = { onlyFile: "folder" in files };
  const chainFile = await chain.read(options);
  const keyFile = privateKey === chain ? chainFile : await privateKey.read(options);
  await task.pause();
  const certifiedKey = await parse(chainFile, keyFile, passphrase);
  // Other files may have taken the place of those that were found.
  const stampRead = stampOf(chain, privateKey, passphrase);
  if (stampRead !== undefined) stamps.set(loaded.set(chain.path, certifiedKey), stampRead);
  return certifiedKey;
}

function parse(cert: PemFile, key: PemFile, passphrase: string | undefined): CertifiedKey | Promise<CertifiedKey> {
  return passphrase === undefined ? certifiedKeyOf({ cert, key }) : decryptedCertifiedKeyOf({ cert, key, passphrase });
}

/** Identifies the content of both files, and the passphrase; `undefined` if one of the files may change unnoticed. */
function stampOf(chain: PemSource, key: PemSource, passphrase: string | undefined): string | undefined {
  const both = [chain.stamp, key.stamp];
  return both.includes(undefined) ? undefined : hash("sha256", JSON.stringify([...both, passphrase]), "base64");
}
