import { assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import test from "node:test";
import { codesAbout, makeAuthority, makeLeaf } from "../support/chains.ts";
import {
  ecKey,
  extension,
  general,
  keyIdentifierOf,
  type Made,
  make,
  nameOf,
  SERVER_AUTH,
} from "../support/made_certificates.ts";
import { withFiles } from "../support/files.ts";

const DAY_MS = 86_400_000;
const root = makeAuthority("root");
const key = ecKey();
const subjectId = extension.subjectKeyIdentifier(keyIdentifierOf(key));
const issuerId = extension.keyIdOf(root);
const alternative = extension.subjectAltName(general.dns("www.example.com"));
const made = (extensions: readonly Uint8Array[], subject: string | Uint8Array = "www.example.com") =>
  make({ issuer: root, key, subject, notAfter: Date.now() + 60 * DAY_MS, extensions });
const isNoCa = extension.basicConstraints(false);
const usage = extension.keyUsage(0x80);
const serverAuth = extension.extKeyUsage(SERVER_AUTH);

/** Certificates that OpenSSL takes, and those of them that it refuses with `-x509_strict`. */
const LEAVES: Readonly<Record<string, Made>> = {
  "in the profile": makeLeaf(root),
  "without basicConstraints and keyUsage": made([alternative, subjectId, issuerId, serverAuth]),
  "without subjectKeyIdentifier": made([isNoCa, usage, alternative, issuerId]),
  "without authorityKeyIdentifier": made([isNoCa, usage, alternative, subjectId]),
  "with a path length": made([extension.basicConstraints(false, 1), usage, alternative, subjectId, issuerId]),
  "with keyCertSign": made([isNoCa, extension.keyUsage(0x84), alternative, subjectId, issuerId]),
  "with an empty subject": made([isNoCa, usage, alternative, subjectId, issuerId], nameOf()),
  "with an empty subject beside a critical subjectAltName": make({
    issuer: root,
    key,
    subject: nameOf(),
    notAfter: Date.now() + 60 * DAY_MS,
    extensions: [isNoCa, usage, subjectId, issuerId, criticalName()],
  }),
};

function criticalName(): Uint8Array {
  return extension.raw("2.5.29.17", new Uint8Array([0x30, 3, 0x82, 1, 0x61]), true);
}

/** Authorities below the root. */
const AUTHORITIES: Readonly<Record<string, Made>> = {
  "in the profile": makeAuthority("below", { issuer: root }),
  "without keyUsage": authority([extension.basicConstraints(true), subjectId, issuerId]),
  "with basicConstraints that is not critical": authority([
    extension.raw("2.5.29.19", new Uint8Array([0x30, 3, 1, 1, 0xff])),
    extension.keyUsage(0x06),
    subjectId,
    issuerId,
  ]),
  "without subjectKeyIdentifier": authority([extension.basicConstraints(true), extension.keyUsage(0x06), issuerId]),
  "without authorityKeyIdentifier": authority([extension.basicConstraints(true), extension.keyUsage(0x06), subjectId]),
};

function authority(extensions: readonly Uint8Array[]): Made {
  return make({ issuer: root, key, subject: "below", notAfter: Date.now() + 60 * DAY_MS, extensions });
}

async function opensslAccepts(chain: readonly Made[], ...flags: readonly string[]): Promise<boolean> {
  return await withFiles(async (files) => {
    const [leaf, ...others] = chain;
    const args = ["verify", ...flags, "-CAfile", await files.write("root", root.pem)];
    if (others.length > 0) args.push("-untrusted", await files.write("others", others.map(({ pem }) => pem).join("")));
    const { status, error } = spawnSync("openssl", [...args, await files.write("leaf", leaf!.pem)]);
    if (error) throw error;
    return status === 0;
  });
}

for (const [name, leaf] of Object.entries(LEAVES)) {
  test(`NOT_STRICT is what openssl verify -x509_strict says of a server certificate ${name}`, () => agrees([leaf]));
}
for (const [name, issuer] of Object.entries(AUTHORITIES)) {
  test(`NOT_STRICT is what openssl verify -x509_strict says of an authority ${name}`, () =>
    agrees([makeLeaf(issuer), issuer]));
}

async function agrees(chain: readonly Made[]): Promise<void> {
  assertEquals(await opensslAccepts(chain), true, "it is refused without the flag too");
  const isStrict = !codesAbout(chain, { roots: [root] }).includes("warning NOT_STRICT");
  assertEquals(isStrict, await opensslAccepts(chain, "-x509_strict"));
}
