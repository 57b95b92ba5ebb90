import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { createHash } from "node:crypto";
import { chmod, mkdir, readdir, readFile } from "node:fs/promises";
import process from "node:process";
import test from "node:test";
import { setImmediate } from "node:timers/promises";
import { NativeRootsError } from "../../src/errors.ts";
import { loadRoots } from "../../src/roots/load.ts";
import { issueCa, type Issued } from "../support/certificates.ts";
import { type TestFiles, withFiles } from "../support/files.ts";
import { limitBy, systemOf } from "../support/root_system.ts";

const NO_SHELL = process.platform === "win32" && "Windows runs no shell scripts";

const [shipped, denied, company, mail] = await Promise.all(
  ["shipped", "denied", "company", "mail"].map((name) => issueCa(name)),
) as [Issued, Issued, Issued, Issued];

/** One certificate of what `security trust-settings-export` writes. */
function entry({ certificate }: Issued, ...settings: string[]): string {
  const sha1 = createHash("sha1").update(new Uint8Array(certificate.rawData)).digest("hex").toUpperCase();
  const array = settings.length === 0
    ? "<array/>"
    : `<array>${settings.map((each) => `<dict>${each}</dict>`).join("")}</array>`;
  return `<key>${sha1}</key><dict><key>issuerName</key><data>MA0xCzAJ</data>
    <key>trustSettings</key>${array}</dict>`;
}

function plist(...entries: string[]): string {
  return `<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0"><dict><key>trustList</key><dict>${entries.join("\n")}</dict>
<key>trustVersion</key><integer>1</integer></dict></plist>`;
}

const result = (value: number) => `<key>kSecTrustSettingsResult</key><integer>${value}</integer>`;
const policy = (oid: string) => `<key>kSecTrustSettingsPolicy</key>\n\t<data>\n\t${oid}\n\t</data>`;
const TLS = policy("KoZIhvdjZAED");
const MAIL = policy("KoZIhvdjZAEI");

/** Stands for the program of macOS: it prints files that stand beside it. */
async function security({ path, write }: TestFiles, script?: string): Promise<string> {
  const program = await write(
    "security",
    `#!/bin/sh
cd '${path("")}' && echo "$*" >> calls
${script ?? ""}
case "$1 $2" in
  find-certificate*) if [ "$4" ]; then cat shipped.pem; else cat others.pem; fi ;;
  "trust-settings-export -d") from=admin.plist to=$3 ;;
  *) from=user.plist to=$2 ;;
esac
[ "$to" ] || exit 0
[ -f $from ] && exec cp $from "$to"
echo "SecTrustSettingsCreateExternalRepresentation: No Trust Settings were found." >&2
exit 1
`,
  );
  await chmod(program, 0o755);
  await write("shipped.pem", shipped.cert + denied.cert);
  await write("others.pem", company.cert + mail.cert + shipped.cert);
  return program;
}

async function subjects(program: string): Promise<string[]> {
  const store = await loadRoots(systemOf({}, { platform: "darwin", security: program }));
  assertEquals([store.warnings, store.sources.map(({ origin }) => origin)], [[], ["keychain"]]);
  return [...store].map(({ subject }) => subject.replace("CN=", ""));
}

test(
  "loadRoots() trusts only the roots of Apple on macOS without trust settings",
  { skip: NO_SHELL },
  () =>
    withFiles(async (files) => {
      assertEquals(await subjects(await security(files)), ["shipped", "denied"]);
    }),
);

test("loadRoots() follows the trust settings of macOS", { skip: NO_SHELL }, () =>
  withFiles(async (files) => {
    const program = await security(files);
    const trusted: Record<string, string> = {
      "always": entry(company),
      "for TLS servers": entry(company, MAIL + result(3), TLS + result(1)),
      "as a root": entry(company, TLS + result(2)),
      "for everything": entry(company, result(1)),
      "without a word": entry(company, TLS),
    };
    for (const [how, settings] of Object.entries(trusted)) {
      await files.write("admin.plist", plist(settings, entry(denied, TLS + result(3))));
      assertEquals(await subjects(program), ["shipped", "company"], how);
    }
    const untrusted: Record<string, string> = {
      "for mail": entry(company, MAIL + result(1)),
      "for one host": entry(company, `<key>kSecTrustSettingsPolicyString</key><string>x</string>${TLS}${result(1)}`),
      "for one application": entry(company, `<key>kSecTrustSettingsApplication</key><data>AA</data>${result(1)}`),
      "unspecified": entry(company, TLS + result(4)),
      "no settings": entry(company).replace(/<key>trustSettings.*<array\/>/, ""),
    };
    for (const [how, settings] of Object.entries(untrusted)) {
      await files.write("admin.plist", plist(settings));
      assertEquals(await subjects(program), ["shipped", "denied"], how);
    }
  }));

test(
  "loadRoots() prefers the trust settings of the user to those of the administrator",
  { skip: NO_SHELL },
  () =>
    withFiles(async (files) => {
      const program = await security(files);
      await files.write("admin.plist", plist(entry(company, TLS + result(3)), entry(denied, TLS + result(1))));
      await files.write("user.plist", plist(entry(company, TLS + result(1)), entry(denied, TLS + result(3))));
      assertEquals(await subjects(program), ["shipped", "company"]);
    }),
);

test(
  "loadRoots() asks busy keychains three times, and repeats the error of macOS",
  { skip: NO_SHELL },
  () =>
    withFiles(async (files) => {
      const busy = "[ $1 = find-certificate ] && { echo 'SecKeychain: The keychain is busy.' >&2; exit 45; }";
      const program = await security(files, busy);
      const error = await assertRejects(() => subjects(program), NativeRootsError);
      assertMatch(error.message, /cannot read the keychains: .*security says: SecKeychain: The keychain is busy\./);
      const calls = (await readFile(files.path("calls"), "utf8")).split("\n");
      assertEquals(calls.filter((call) => call === "find-certificate -a -p").length, 3);
    }),
);

test(
  "loadRoots() trusts no root if the trust settings cannot be read",
  { skip: NO_SHELL },
  () =>
    withFiles(async (files) => {
      const program = await security(files, "[ $1 = trust-settings-export ] && { echo 'not allowed' >&2; exit 1; }");
      await assertRejects(() => subjects(program), NativeRootsError, "security says: not allowed");
    }),
);

test("loadRoots() ends the programs of macOS that do not answer", { skip: NO_SHELL }, () =>
  withFiles(async (files) => {
    const program = await security(files, "touch pids/$$ && exec sleep 600");
    await mkdir(files.path("pids"));
    const limit = new AbortController();
    const loading = loadRoots(systemOf({}, { platform: "darwin", security: program, limit: limitBy(limit) }));
    const pids = async () => (await readdir(files.path("pids"))).map(Number);
    // All that it runs: one that began later would write into a directory that the test removes.
    while ((await pids()).length < 4) await setImmediate();
    limit.abort();
    await assertRejects(() => loading, NativeRootsError, "the keychains: no answer within 10000 ms");
    while ((await pids()).some(isAlive)) await setImmediate();
  }));

test("loadRoots() names the missing program", async () => {
  const system = systemOf({}, { platform: "darwin", security: "/nonexistent/security" });
  await assertRejects(
    () => loadRoots(system),
    NativeRootsError,
    "cannot read the keychains: no such file or directory",
  );
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
