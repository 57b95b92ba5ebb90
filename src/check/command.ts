import process from "node:process";
import { parseArgs } from "node:util";
import { requirePath } from "../arguments.ts";
import type { Severity } from "../findings/finding.ts";
import { nativeRoots } from "../roots/native_roots.ts";
import { messageOf } from "../warnings.ts";
import type { Certificate } from "../x509/certificate.ts";
import { decodeUtf8 } from "../x509/pem.ts";
import { readPemSource } from "../x509/pem_source.ts";
import { coversName } from "../x509/server_name.ts";
import type { Address } from "./ask_server.ts";
import { check } from "./check.ts";
import { type CheckFiles, contentsOf, filesAt, loadAuthorities, loadFiles } from "./inputs.ts";
import { hasAtLeast, type Report } from "./report.ts";
import { compareServed } from "./served.ts";
import { hasColors, painter, printable, printableJson } from "./terminal.ts";
import { reportText } from "./text.ts";

/** The exit codes of the command. */
const ExitCode = { fine: 0, findings: 1, unusable: 2 } as const;
const MAX_PASSPHRASE_BYTES = 64 * 1024;
const OPTIONS = {
  "client-ca": { type: "string" },
  "crl": { type: "string" },
  "names": { type: "string", multiple: true },
  "roots": { type: "string" },
  "passphrase-file": { type: "string" },
  "connect": { type: "string" },
  "fail-on": { type: "string", default: "error" },
  "json": { type: "boolean" },
  "help": { type: "boolean", short: "h" },
} as const;
const HELP = `Finds problems with TLS certificates before clients do.

usage: check [options] FILE_OR_FOLDER...

A file holds a certificate chain, a private key, or both. A key belongs to the
certificate before it. A folder holds NAME.pem, NAME.crt with NAME.key, or
NAME/fullchain.pem with NAME/privkey.pem.

  --names NAME,...        names that clients ask for
  --roots FILE | system   roots that clients trust
  --client-ca FILE        authorities of client certificates
  --crl FILE              revocation lists of these authorities
  --passphrase-file FILE  passphrase of encrypted keys
  --connect HOST:PORT     compare with what a running server serves
  --fail-on SEVERITY      error (default), warning or note
  --json                  print JSON, see docs/check.md

exit code: 0 fine, 1 findings at or above --fail-on, 2 unusable
`;

/** Where the command writes. */
export interface Output {
  /** Gets the report. */
  readonly stdout: (text: string) => void;
  /** Gets what is wrong with the arguments. */
  readonly stderr: (text: string) => void;
  /** Whether the report may have colors. */
  readonly hasColors: boolean;
}

/**
 * Runs the command that `deno run -R jsr:@x/tls-reload/check` is, for runtimes that cannot run a module by its name.
 *
 * @param args The arguments of the command.
 * @param output Where it writes; the streams of the process by default.
 * @returns The exit code: 0 fine, 1 findings at or above `--fail-on`, 2 unusable.
 *
 * @example Node and Bun, in a shell
 * ```sh
 * node -e 'import("@x/tls-reload/check").then((m) => m.runCheck(process.argv.slice(1)))' -- cert.pem key.pem
 * ```
 */
export async function runCheck(args: readonly string[], output: Output = processOutput()): Promise<number> {
  const exitCode = await run(args, output);
  process.exitCode = exitCode;
  return exitCode;
}

async function run(args: readonly string[], output: Output): Promise<number> {
  try {
    // An argument that cannot be a path may be a private key, so it is refused before a message could show it.
    for (const arg of args) requirePath("check", "FILE", arg);
    const { values, positionals } = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
    if (values.help) {
      output.stdout(HELP);
      return ExitCode.fine;
    }
    const failOn = severityOf(values["fail-on"]);
    const address = values.connect === undefined ? undefined : addressOf(values.connect);
    if (positionals.length === 0) throw new TypeError("a file or folder is required");
    const names = values.names?.flatMap((list) => list.split(",")).filter((name) => name !== "") ?? [];
    const inputs = pairsOf(await Promise.all(positionals.map(classify)), await passphraseOf(values["passphrase-file"]));
    const found = await check(inputs, {
      names,
      roots: await rootsOf(values.roots),
      clientCa: values["client-ca"],
      crl: values.crl,
    });
    const report = address ? await withServed(found, inputs, address, names) : found;
    output.stdout(
      values.json ? `${printableJson(report)}\n` : reportText(report, painter(output.hasColors)),
    );
    if (!report.isUsable) return ExitCode.unusable;
    return hasAtLeast(report, failOn) ? ExitCode.findings : ExitCode.fine;
  } catch (error) {
    output.stderr(`check: ${printable(messageOf(error))}\nTry --help.\n`);
    return ExitCode.unusable;
  }
}

interface Classified {
  readonly path: string;
  readonly contents: Awaited<ReturnType<typeof contentsOf>>;
}

async function classify(path: string): Promise<Classified> {
  return { path, contents: await contentsOf(path) };
}

/** Pairs each key with the certificate before it. A file that cannot be read counts as the part that is missing. */
function pairsOf(files: readonly Classified[], passphrase: string | undefined): (string | CheckFiles)[] {
  const inputs: (string | CheckFiles)[] = [];
  for (const { path, contents } of files) {
    const last = inputs.at(-1);
    const isOpen = typeof last === "object" && last.key === undefined;
    if (contents === "folder") inputs.push(path);
    else if (contents === "both") inputs.push({ cert: path, key: path, passphrase });
    else if (isOpen && contents !== "certificate") inputs[inputs.length - 1] = { ...last, key: path, passphrase };
    else if (contents === "key") throw new TypeError(`a key must follow its certificate: ${path}`);
    else inputs.push({ cert: path });
  }
  return inputs;
}

async function withServed(
  report: Report,
  inputs: readonly (string | CheckFiles)[],
  address: Address,
  names: readonly string[],
): Promise<Report> {
  const loaded = await loadFiles((await Promise.all(inputs.map(expand))).flat());
  const reports = [];
  for (const { chain, path } of loaded) {
    const [leaf] = chain;
    if (!leaf) continue;
    reports.push(await compareServed(chain, address, names.filter((name) => coversName(leaf, name)), path));
  }
  const served = reports.flatMap(({ served }) => served ?? []);
  return { ...report, findings: [...report.findings, ...reports.flatMap(({ findings }) => findings)], served };
}

function expand(input: string | CheckFiles): CheckFiles[] | Promise<CheckFiles[]> {
  return typeof input === "string" ? filesAt(input).catch(() => []) : [input];
}

async function rootsOf(value: string | undefined): Promise<Iterable<Certificate> | undefined> {
  if (value === undefined) return undefined;
  return value === "system" ? await nativeRoots() : await loadAuthorities(value);
}

async function passphraseOf(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  const { bytes } = await readPemSource(path, { maxBytes: MAX_PASSPHRASE_BYTES });
  return decodeUtf8(bytes).replace(/\r?\n$/, "");
}

function severityOf(value: string): Severity {
  if (value === "error" || value === "warning" || value === "note") return value;
  throw new TypeError("--fail-on must be error, warning or note");
}

function addressOf(value: string): Address {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(value) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(port) > 65_535) throw new TypeError("--connect must be HOST:PORT");
  return { host, port: Number(port) };
}

function processOutput(): Output {
  return {
    stdout: (text) => writeTo(process.stdout, text),
    stderr: (text) => writeTo(process.stderr, text),
    hasColors: hasColors(),
  };
}

function writeTo(stream: NodeJS.WriteStream, text: string): void {
  if (!stream.listeners("error").includes(ignoreBrokenPipe)) stream.on("error", ignoreBrokenPipe);
  stream.write(text);
}

/** A reader such as `head` closes its pipe once it has what it needs. The exit code stays that of the report. */
function ignoreBrokenPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
}
