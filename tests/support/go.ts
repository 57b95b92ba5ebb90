import { Buffer } from "node:buffer";
import { execFileSync, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Corpus } from "./file_corpus.ts";

/** Why tests that ask Go are skipped, or `false`. */
export const NO_GO: string | false = spawnSync("go", ["version"]).status !== 0 && "Go is not installed";

const SOURCE = fileURLToPath(new URL("pem_reader.go", import.meta.url));
/** Beside the runtimes, so that it is linked again only after a change. */
const PROGRAM = fileURLToPath(new URL("../../.runtimes/pem_reader", import.meta.url));

/** What `crypto/tls` of Go reads of files; what it refuses is missing. */
export interface GoAnswers {
  /** The subjects of a chain. */
  readonly Certificates: Readonly<Record<string, readonly string[]>>;
  /** The name of a key. */
  readonly Keys: Readonly<Record<string, string>>;
}

/**
 * Asks Go about all files of two corpora, in one process.
 *
 * @param certificates Files with certificates, and the keys of their leaves.
 * @param keys Files with keys, and the public keys by their names.
 */
export function askGo(
  certificates: { readonly files: Corpus; readonly keys: readonly string[] },
  keys: { readonly files: Corpus; readonly publicKeys: Readonly<Record<string, string>> },
): GoAnswers {
  execFileSync("go", ["build", "-o", PROGRAM, SOURCE]);
  const input = JSON.stringify({
    LeafKeys: certificates.keys,
    PublicKeys: keys.publicKeys,
    Certificates: encoded(certificates.files),
    Keys: encoded(keys.files),
  });
  return JSON.parse(execFileSync(PROGRAM, { input, encoding: "utf8" }));
}

function encoded(files: Corpus): Record<string, string> {
  return Object.fromEntries(
    Object.entries(files).map(([what, { content }]) => [what, Buffer.from(content as string).toString("base64")]),
  );
}
