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

/** Whether `openssl verify` lets a client in, at its default flags. */
export function opensslVerifies(
  leaf: { readonly pem: string },
  intermediates: readonly { readonly pem: string }[],
  anchors: readonly { readonly pem: string }[],
): boolean {
  const cwd = mkdtempSync(join(tmpdir(), "tls-reload-"));
  const write = (name: string, certificates: readonly { readonly pem: string }[]) =>
    writeFileSync(join(cwd, name), certificates.map(({ pem }) => pem).join(""));
  try {
    write("anchors", anchors);
    write("intermediates", intermediates);
    write("leaf", [leaf]);
    const untrusted = intermediates.length > 0 ? ["-untrusted", "intermediates"] : [];
    const args = ["verify", "-purpose", "sslclient", "-no-CApath", "-no-CAstore", "-CAfile", "anchors", ...untrusted];
    const { status, stderr, error } = spawnSync("openssl", [...args, "leaf"], { cwd, encoding: "utf8" });
    if (error) throw error;
    if (status !== 0 && !stderr.includes("verification failed")) throw new Error(`openssl verify failed: ${stderr}`);
    return status === 0;
  } finally {
    rmSync(cwd, { recursive: true, force: true });
  }
}
