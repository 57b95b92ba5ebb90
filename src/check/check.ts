import { kindOf, requireOptions, requirePath } from "../arguments.ts";
import { CERTIFIED_KEY_PARTS } from "../config/certified_key.ts";
import { findingsOf } from "../config/config_findings.ts";
import { requirePassphrase } from "../config/settings.ts";
import { TlsConfig } from "../config/tls_config.ts";
import { anchorsOf, chainFactsOf } from "../findings/chain_facts.ts";
import { authorityFindings, chainFindings, crlFindings } from "../findings/findings.ts";
import { uncoveredNames } from "../findings/names.ts";
import { LongTask } from "../long_task.ts";
import type { Certificate } from "../x509/certificate.ts";
import { filePath } from "../x509/pem_file.ts";
import { isServerName } from "../x509/server_name.ts";
import { encryptedKeyFinding, keyFileFindings, loadFinding } from "./files.ts";
import {
  type CheckFiles,
  filesAt,
  loadAuthorities,
  loadCrls,
  type LoadedFiles,
  loadFiles,
  requireTyped,
} from "./inputs.ts";
import { describe, type Report, type ReportCertificate, type ReportFinding } from "./report.ts";

/** The options of {@linkcode check}. */
export interface CheckOptions {
  /**
   * The roots that clients trust, such as those of `nativeRoots()`. With them a missing intermediate is certain;
   * without them it is a note.
   */
  readonly roots?: Iterable<Certificate> | undefined;
  /** The names that clients ask for: for each one there must be a certificate. */
  readonly names?: readonly string[] | undefined;
  /** The authorities of clients: a file. Those of a `TlsConfig` are checked without this option. */
  readonly clientCa?: string | URL | undefined;
  /** The revocation lists of these authorities: a file. */
  readonly crl?: string | URL | undefined;
  /**
   * The moment that validity is looked at for.
   *
   * @default {new Date()}
   */
  readonly at?: Date | undefined;
}

/**
 * A file that holds a certificate and perhaps its key, a folder as of `certificatesIn()`, or the files of a
 * certificate.
 */
export type CheckInput = string | URL | CheckFiles;

const OPTION_NAMES = ["roots", "names", "clientCa", "crl", "at"];

/**
 * Finds problems with certificates before clients do. Makes no connection, and gives the same answer on every runtime.
 * A file that cannot be used is a finding too, with the code of its error.
 *
 * @param input A configuration; or a file that holds a certificate and perhaps its key; or a folder, as of
 * `certificatesIn()`; or the files of one or several certificates.
 * @param options Names, roots, and the authorities of clients.
 * @returns What was found.
 * @throws {TypeError} If the input or an option is none of its allowed values.
 *
 * @example
 * ```ts ignore
 * import { check } from "@x/tls-reload/check";
 * import { nativeRoots } from "@x/tls-reload/roots";
 *
 * const { findings } = await check({ cert: "fullchain.pem", key: "privkey.pem" }, {
 *   names: ["www.example.com"],
 *   roots: await nativeRoots(),
 * });
 * for (const { severity, code, message, hint } of findings) console.log(severity, code, message, hint);
 * ```
 */
export async function check(
  input: TlsConfig | CheckInput | readonly CheckInput[],
  options: CheckOptions = {},
): Promise<Report> {
  requireOptions("check", options, OPTION_NAMES);
  const { names = [], roots, clientCa, crl, at = new Date() } = options;
  requireValues(names, roots, at);
  const draft = new Draft(at);
  if (input instanceof TlsConfig) await draft.addConfig(input, { names, roots, at });
  else await draft.addFiles(input, { names, roots });
  await draft.addAuthorities(clientCa, crl);
  return draft.report();
}

/**
 * A report that is being written.
 *
 * Invariant: each input that cannot be used adds one finding with the code of its error, and makes the report unusable.
 */
class Draft {
  readonly #at: Date;
  readonly #certificates: ReportCertificate[] = [];
  readonly #findings: ReportFinding[] = [];
  #isUsable = true;

  constructor(at: Date) {
    this.#at = at;
  }

  async addConfig(
    config: TlsConfig,
    context: { names: readonly string[]; roots: Iterable<Certificate> | undefined; at: Date },
  ): Promise<void> {
    for (const { chain, path } of config.certifiedKeys) this.#addChain(chain, path);
    for (const each of config.clientAuth?.ca ?? []) {
      this.#certificates.push(describe(each, "client authority", undefined));
    }
    this.#findings.push(...await findingsOf(config, context));
  }

  async addFiles(
    input: CheckInput | readonly CheckInput[],
    { names, roots }: Pick<CheckOptions, "roots"> & { names: readonly string[] },
  ): Promise<void> {
    const loaded = await this.#load(input);
    const missing = uncoveredNames(loaded.flatMap(({ chain }) => chain.slice(0, 1)), names);
    const first = loaded.find(({ chain }) => chain.length > 0);
    const task = new LongTask();
    for (const files of loaded) {
      await task.pause();
      const { path, keyPath, chain, error } = files;
      if (error !== undefined) this.#addError(files);
      if (keyPath !== undefined) this.#findings.push(...await keyFileFindings(keyPath));
      if (chain.length === 0) continue;
      this.#addChain(chain, path);
      const context = { names: files === first ? missing : [], roots: roots && anchorsOf(roots), at: +this.#at };
      this.#findings.push(...chainFindings(chainFactsOf(chain, context), path));
    }
  }

  async addAuthorities(clientCa: string | URL | undefined, crl: string | URL | undefined): Promise<void> {
    const authorities = await this.#attempt(clientCa, loadAuthorities) ?? [];
    const path = clientCa === undefined ? undefined : filePath(clientCa);
    for (const each of authorities) this.#certificates.push(describe(each, "client authority", path));
    this.#findings.push(...authorityFindings({ authorities, at: +this.#at }, path));
    const crls = await this.#attempt(crl, loadCrls) ?? [];
    const crlPath = crl === undefined ? undefined : filePath(crl);
    this.#findings.push(...crlFindings({ authorities, crls, at: +this.#at }, crlPath));
  }

  report(): Report {
    return {
      formatVersion: 1,
      checkedAt: this.#at,
      isUsable: this.#isUsable,
      certificates: this.#certificates,
      findings: this.#findings,
    };
  }

  async #load(input: CheckInput | readonly CheckInput[]): Promise<LoadedFiles[]> {
    const inputs: readonly CheckInput[] = Array.isArray(input) ? input : [input];
    const entries: CheckFiles[] = [];
    for (const each of inputs) {
      if (typeof each !== "string" && !(each instanceof URL)) {
        requireFiles(each);
        entries.push(each);
        continue;
      }
      requirePath("check", "input", each);
      entries.push(...await this.#attempt(each, filesAt) ?? []);
    }
    return await loadFiles(entries);
  }

  #addChain(chain: readonly Certificate[], path: string | undefined): void {
    for (const [index, each] of chain.entries()) {
      this.#certificates.push(describe(each, index === 0 ? "server" : "intermediate", path));
    }
  }

  #addError({ error, path, keyPath, chain }: LoadedFiles): void {
    if (error!.code === "KEY_ENCRYPTED" && chain.length > 0) {
      this.#findings.push(encryptedKeyFinding(path, keyPath!));
      return;
    }
    this.#isUsable = false;
    this.#findings.push(loadFinding(error!, path));
  }

  /** Loads a file. Returns `undefined` if no path was given, or if the file cannot be used, which adds a finding. */
  async #attempt<T>(path: string | URL | undefined, load: (path: string) => Promise<T>): Promise<T | undefined> {
    if (path === undefined) return undefined;
    try {
      return await load(filePath(path));
    } catch (error) {
      this.#isUsable = false;
      this.#findings.push(loadFinding(requireTyped(error), filePath(path)));
      return undefined;
    }
  }
}

function requireValues(names: readonly string[], roots: Iterable<Certificate> | undefined, at: Date): void {
  const wrong = (name: string, type: string, value: unknown) =>
    new TypeError(`Cannot call check: '${name}' must be ${type}: ${kindOf(value)}`);
  if (!Array.isArray(names) || !names.every(isServerName)) {
    throw wrong("names", "a list of names", names);
  }
  if (roots !== undefined && (typeof roots !== "object" || typeof Object(roots)[Symbol.iterator] !== "function")) {
    throw wrong("roots", "a list of certificates", roots);
  }
  if (!(at instanceof Date) || Number.isNaN(at.getTime())) throw wrong("at", "a valid date", at);
}

function requireFiles(files: CheckFiles): void {
  requireOptions("check", files, CERTIFIED_KEY_PARTS);
  requirePath("check", "cert", files.cert);
  if (files.key !== undefined) requirePath("check", "key", files.key);
  requirePassphrase(files.passphrase);
}
