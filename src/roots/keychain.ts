import { Buffer } from "node:buffer";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RootPlace } from "./place.ts";

/** The roots that Apple ships. */
const SYSTEM_ROOTS = "/System/Library/Keychains/SystemRootCertificates.keychain";
/** `kSecTrustSettingsPolicy` of TLS servers: OID 1.2.840.113635.100.1.3. */
const TLS_POLICY = "KoZIhvdjZAED";
/** `kSecTrustSettingsResult`: trust root, trust as root, deny. */
const DECISIONS: Readonly<Record<string, Decision>> = { 1: "trust", 2: "trust", 3: "deny" };
/** The messages of the program if it finds nothing. */
const NOTHING = /No Trust Settings were found|could not be found/i;
const MAX_BYTES = 64 * 1024 * 1024;

type Decision = "trust" | "deny";

/**
 * The keychains of macOS. The program `security` of the system reads them in child processes.
 *
 * A root that Apple ships is trusted unless the trust settings deny it. Another certificate is trusted only if the
 * trust settings trust it, because keychains also hold mail and client certificates. The settings of the user take
 * precedence over those of the administrator.
 */
export function keychainPlace(security: string): RootPlace {
  return {
    origin: "keychain",
    path: undefined,
    async find(signal) {
      const run = (...args: string[]) => runProgram(security, args, signal);
      const reads = [
        run("find-certificate", "-a", "-p", SYSTEM_ROOTS),
        run("find-certificate", "-a", "-p"),
        trustSettings(run),
        trustSettings(run, "-d"),
      ] as const;
      // Waits for all of them, so that no child process outlives this attempt.
      await Promise.allSettled(reads);
      const [shipped, others, user, admin] = await Promise.all(reads);
      const decision = (der: Uint8Array) => {
        const sha1 = createHash("sha1").update(der).digest("hex").toUpperCase();
        return user.get(sha1) ?? admin.get(sha1);
      };
      const document = (path: string, pem: string | undefined, trusts: (der: Uint8Array) => boolean) => (
        { path, id: path, read: () => Buffer.from(pem ?? ""), trusts }
      );
      return [
        document(SYSTEM_ROOTS, shipped, (der) => decision(der) !== "deny"),
        document("keychain search list", others, (der) => decision(der) === "trust"),
      ];
    },
  };
}

/** The decisions about TLS servers, by the SHA-1 of the certificate in upper-case hexadecimal. */
async function trustSettings(
  run: (...args: string[]) => Promise<string | undefined>,
  ...domain: string[]
): Promise<ReadonlyMap<string, Decision>> {
  const decisions = new Map<string, Decision>();
  const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
  try {
    const file = join(folder, "trust.plist");
    if (await run("trust-settings-export", ...domain, file) === undefined) return decisions;
    const [, ...entries] = (await readFile(file, "utf8")).split(/<key>([0-9A-F]{40})<\/key>/);
    for (let index = 0; index < entries.length; index += 2) {
      const decision = decisionOf(entries[index + 1]!);
      if (decision) decisions.set(entries[index]!, decision);
    }
    return decisions;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Reads the property list of one certificate, as `SecTrustSettingsCopyTrustSettings` documents it. */
function decisionOf(entry: string): Decision | undefined {
  const [settings, list = ""] = /<key>trustSettings<\/key>\s*<array(?:\/>|>([^]*?)<\/array>)/.exec(entry) ?? [];
  if (settings === undefined) return undefined;
  const constraints = [...list.matchAll(/<dict(?:\/>|>([^]*?)<\/dict>)/g)].map(([, constraint = ""]) => constraint);
  if (constraints.length === 0) return "trust";
  for (const constraint of constraints) {
    const value = (key: string) => new RegExp(`<key>${key}</key>\\s*<\\w+>([^<]*)<`).exec(constraint)?.[1]?.trim();
    // A setting for one application or one host does not apply to this process.
    if (/kSecTrustSettings(?:Application|PolicyString)/.test(constraint)) continue;
    if ((value("kSecTrustSettingsPolicy") ?? TLS_POLICY) !== TLS_POLICY) continue;
    const decision = DECISIONS[value("kSecTrustSettingsResult") ?? "1"];
    if (decision) return decision;
  }
  return undefined;
}

/** Resolves to the output of the program; `undefined` if the program finds nothing. */
function runProgram(program: string, args: readonly string[], signal: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { signal, maxBuffer: MAX_BYTES }, (error, stdout, stderr) => {
      if (!error) resolve(stdout);
      else if (typeof error.code !== "number") reject(error);
      else if (NOTHING.test(stderr)) resolve(undefined);
      else reject(Object.assign(new Error(`${program} says: ${stderr.trim()}`), { code: error.code }));
    });
  });
}
