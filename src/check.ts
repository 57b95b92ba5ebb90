/**
 * Says what clients will not like about certificates before a server serves them: a missing intermediate, another host's
 * certificate, a client certificate on a server, an authority that expires.
 *
 * ```ts
 * // Deno, Bun, Node
 * import { check } from "@x/tls-reload/check";
 *
 * const { findings } = await check({ cert: "fullchain.pem", key: "privkey.pem" }, { names: ["www.example.com"] });
 * for (const { severity, message, hint } of findings) console.log(`${severity}: ${message}; ${hint}`);
 * ```
 *
 * As a command:
 *
 * ```sh
 * deno run -R jsr:@x/tls-reload/check fullchain.pem privkey.pem --names www.example.com
 * ```
 *
 * | option | what it does | permission on Deno |
 * | --- | --- | --- |
 * | `FILE_OR_FOLDER...` | certificate chains, each with its key after it or in it; folders as of `certificatesIn()` | `-R` |
 * | `--names NAME,...` | names that clients ask for: for each one there must be a certificate | |
 * | `--roots FILE`, `--roots system` | roots that clients trust; with them a missing intermediate is certain | `-E=SSL_CERT_FILE,SSL_CERT_DIR` for `system` |
 * | `--client-ca FILE`, `--crl FILE` | the authorities of clients and their revocation lists | |
 * | `--passphrase-file FILE` | the passphrase of encrypted keys; without it such keys are not checked | |
 * | `--connect HOST:PORT` | compares with what a running server serves: certificate, chain, names, versions | `-N` |
 * | `--fail-on SEVERITY` | the severity that makes the exit code 1: `error` (the default), `warning` or `note` | |
 * | `--json` | prints a {@linkcode Report} as JSON, in the form of `src/check/report.schema.json` | |
 *
 * It ends with 0 if all is fine, with 1 if there are findings at or above `--fail-on`, and with 2 if a file or an argument
 * cannot be used. Colors are used only on a terminal, and not if `NO_COLOR` is set.
 *
 * Node and Bun import the command instead, also versions of Node without `import.meta.main` (before 22.18):
 *
 * ```sh
 * node -e 'import("@x/tls-reload/check").then((m) => m.runCheck(process.argv.slice(1)))' -- fullchain.pem privkey.pem
 * bun -e 'import("@x/tls-reload/check").then((m) => m.runCheck(process.argv.slice(1)))' -- fullchain.pem privkey.pem
 * ```
 *
 * In CI, and as a hook of pre-commit:
 *
 * ```yaml
 * # .github/workflows/certificates.yml
 * steps:
 *   - uses: actions/checkout@v4
 *   - uses: denoland/setup-deno@v2
 *   - run: deno run -R jsr:@x/tls-reload/check --fail-on warning certs
 *
 * # .pre-commit-config.yaml
 * repos:
 *   - repo: local
 *     hooks:
 *       - id: certificates
 *         name: certificates
 *         language: system
 *         entry: deno run -R jsr:@x/tls-reload/check
 *         files: \.(pem|crt)$
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
