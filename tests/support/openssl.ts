import { join } from "@std/path";
import { Buffer } from "node:buffer";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";

/**
 * Runs the command-line tool, our second opinion on every format, as a user does who follows an error message of ours.
 *
 * @param command Its arguments. A file named `FILE` stands in the working directory.
 * @param file What it holds.
 * @param config A configuration file of OpenSSL, named `CONFIG`.
 * @returns What is in `FILE.pem` then, or else what was printed.
 */
export function openssl(command: string | readonly string[], file: string | Uint8Array = "", config = ""): Buffer {
  const args = typeof command === "string" ? command.split(/ +/) : command;
  const cwd = mkdtempSync(join(tmpdir(), "tls-reload-"));
  try {
    writeFileSync(join(cwd, "FILE"), file);
    writeFileSync(join(cwd, "CONFIG"), config);
    const { status, stdout, stderr, error } = spawnSync("openssl", args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
    if (error) throw error;
    if (status !== 0) throw new Error(`openssl ${args.join(" ")} failed: ${stderr}`);
    const made = join(cwd, "FILE.pem");
    return existsSync(made) ? readFileSync(made) : Buffer.from(stdout);
  } finally {
    rmSync(cwd, { recursive: true, force: true });
  }
}

/** The same, as text. */
export function opensslText(command: string | readonly string[], file?: string | Uint8Array, config?: string): string {
  return openssl(command, file, config).toString("utf8");
}
