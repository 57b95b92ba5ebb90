import type { Buffer } from "node:buffer";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseCertificates } from "../../mod.ts";
import type { Issued } from "./certificates.ts";

export interface CrlOptions {
  /** The certificates that are revoked. */
  readonly revoked?: readonly Pick<Issued, "cert">[];
  readonly thisUpdate?: Date;
  readonly nextUpdate?: Date;
  /** @default {"PEM"} */
  readonly format?: "PEM" | "DER";
}

const HOUR_MS = 3_600_000;
const CONFIG = `
  [ca]
  default_ca = authority
  [authority]
  database = index
  default_md = sha256`;

/** The revocation list of an authority, made by `openssl ca`. */
export function makeCrl(authority: Pick<Issued, "cert" | "key">, options: CrlOptions = {}): Buffer {
  const { revoked = [], format = "PEM" } = options;
  const { thisUpdate = new Date(Date.now() - HOUR_MS), nextUpdate = new Date(Date.now() + HOUR_MS) } = options;
  const folder = mkdtempSync(join(tmpdir(), "tls-reload-"));
  const run = (...args: string[]) => {
    const { status, stderr, error } = spawnSync("openssl", args, { cwd: folder, encoding: "utf8" });
    if (error) throw error;
    if (status !== 0) throw new Error(`openssl ${args.join(" ")} failed: ${stderr}`);
  };
  try {
    const serials = revoked.map(({ cert }) => parseCertificates(cert)[0]!.serialNumber);
    writeFileSync(join(folder, "CONFIG"), CONFIG);
    writeFileSync(
      join(folder, "index"),
      serials.map((serial) => `R\t491231235959Z\t200101000000Z\t${serial}\tunknown\t/CN=revoked\n`).join(""),
    );
    writeFileSync(join(folder, "ca.pem"), authority.cert);
    writeFileSync(join(folder, "ca.key"), authority.key);
    const times = ["-crl_lastupdate", timeOf(thisUpdate), "-crl_nextupdate", timeOf(nextUpdate)];
    run("ca", "-gencrl", "-config", "CONFIG", "-cert", "ca.pem", "-keyfile", "ca.key", ...times, "-out", "crl.pem");
    run("crl", "-in", "crl.pem", "-outform", format, "-out", "crl");
    return readFileSync(join(folder, "crl"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function timeOf(date: Date): string {
  return date.toISOString().replace(/[-:T]|\.\d+/g, "");
}
