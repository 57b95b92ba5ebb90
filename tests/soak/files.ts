import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Issued } from "../support/certificates.ts";
import { type Authorities, issueLeaf } from "./authorities.ts";
import type { Ledger } from "./ledger.ts";
import type { Random } from "./random.ts";
import type { StateName } from "./server.ts";

/** Files of a state, by what stands behind the dot. */
export type Files = Readonly<Partial<Record<"crt" | "key" | "ca", string | Uint8Array>>>;

const TRUSTS = [["a"], ["b"], ["a", "b"]];

/** What a state is to serve next: a new certificate, and for clients any trust. The ledger knows it from here on. */
export async function nextFiles(
  state: StateName,
  { authorities, ledger, random }: { authorities: Authorities; ledger: Ledger; random: Random },
  validity = {},
): Promise<{ issued: Issued; files: Files }> {
  const issued = await issueLeaf(authorities, random, validity);
  const trusted = state === "mutual" ? random.pick(TRUSTS) : [];
  ledger.ask({ fingerprint256: issued.fingerprint256, trusted });
  const ca = trusted.map((name) => authorities.clientCas[name]!.cert).join("");
  return { issued, files: { crt: issued.cert, key: issued.key, ...(ca && { ca }) } };
}

/** Writes files as renewal tools do: in place one after the other, or beside and renamed. */
export async function writeFiles(folder: string, state: StateName, files: Files, random: Random): Promise<void> {
  const isRenamed = random.chance(0.5);
  for (const [extension, text] of Object.entries(files)) {
    const path = join(folder, `${state}.${extension}`);
    const beside = isRenamed ? `${path}.new` : path;
    await writeFile(beside, text, { mode: 0o600 });
    if (isRenamed) await rename(beside, path);
    if (random.chance(0.2)) await delay(random.between(0, 200));
  }
}
