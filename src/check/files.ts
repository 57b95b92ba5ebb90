import { stat } from "node:fs/promises";
import process from "node:process";
import type { TlsReloadError } from "../errors.ts";
import type { ReportFinding } from "./report.ts";

const READABLE_BY_OTHERS = 0o004;

/** Checks the permissions of the file of a private key. Does not read the file. */
export async function keyFileFindings(path: string): Promise<ReportFinding[]> {
  // Windows has no users of its processes, and no modes of its files.
  if (process.getuid === undefined) return [];
  const mode = await stat(path).then((stats) => stats.isFile() ? stats.mode : 0, () => 0);
  if ((mode & READABLE_BY_OTHERS) === 0) return [];
  return [{
    code: "KEY_FILE_READABLE",
    severity: "warning",
    subject: path,
    message: `every user of this machine can read the private key (mode ${(mode & 0o777).toString(8)})`,
    hint: "run chmod o= FILE",
    source: path,
  }];
}

/** Converts an error of loading to a finding. */
export function loadFinding(error: TlsReloadError, path: string): ReportFinding {
  return {
    code: error.code,
    severity: "error",
    subject: error.path ?? path,
    message: error.message,
    hint: "fix the file; loadTlsConfig() refuses it too, and a running server keeps its configuration",
    source: path,
  };
}

/** A note, because an encrypted key is not a fault, but cannot be compared with its certificate. */
export function encryptedKeyFinding(path: string, keyPath: string): ReportFinding {
  return {
    code: "KEY_NOT_CHECKED",
    severity: "note",
    subject: keyPath,
    message: "the private key is encrypted, so it was not compared with the certificate",
    hint: "pass its passphrase",
    source: path,
  };
}
