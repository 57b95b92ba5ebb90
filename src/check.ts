/**
 * Finds problems with certificates before clients do: a missing intermediate, another host's certificate, a client
 * certificate on a server, an authority that expires.
 *
 * ```ts
 * // Deno, Bun, Node
 * import { check } from "@x/tls-reload/check";
 *
 * const { findings } = await check({ cert: "fullchain.pem", key: "privkey.pem" }, { names: ["www.example.com"] });
 * for (const { severity, message, hint } of findings) console.log(`${severity}: ${message}; ${hint}`);
 * ```
 *
 * It is a command too. `docs/check.md` lists its options, its exit codes and all findings.
 *
 * ```sh
 * deno run -R jsr:@x/tls-reload/check fullchain.pem privkey.pem --names www.example.com
 * ```
 *
 * @module
 */
import process from "node:process";
import { runCheck } from "./check/command.ts";

export { check, type CheckInput, type CheckOptions } from "./check/check.ts";
export { type Output, runCheck } from "./check/command.ts";
export { type CheckFiles } from "./check/inputs.ts";
export {
  type CheckCode,
  type Report,
  type ReportCertificate,
  type ReportFinding,
  type ReportRole,
  type ServedFacts,
} from "./check/report.ts";
export { type Finding, type FindingCode, type Severity } from "./findings/finding.ts";

if (import.meta.main) void runCheck(process.argv.slice(2));
