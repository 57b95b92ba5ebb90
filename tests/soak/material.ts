// What a state is to serve next, and how it gets there.
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type Authorities, issueLeaf } from "./authorities.ts";
import type { Ledger } from "./ledger.ts";
import type { Random } from "./random.ts";
import { NAMES, type StateName } from "./states.ts";

/** The names and contents of files. A store has them as one value. */
export type Files = Readonly<Record<string, string | Uint8Array>>;

/** The files of a pair. */
export function pairOf(name: string, { cert, key }: { cert: string | Uint8Array; key: string }): Files {
  return { [`${name}.crt`]: cert, [`${name}.key`]: key };
}

const TRUSTS = [["a"], ["b"], ["a", "b"]];
/** A disk may be full, and a folder closed, for longer than a write. */
const RETRY_MS = 100;

/** A new certificate for one of the names, and for clients any trust. The ledger knows it from here on. */
export async function nextFiles(
  state: StateName,
  name: string,
  { authorities, ledger, random }: { authorities: Authorities; ledger: Ledger; random: Random },
): Promise<Files> {
  const issued = await issueLeaf(authorities, random, name);
  const { files, trusted } = state === "mutual" ? trustFiles(authorities, random) : { files: {}, trusted: [] };
  const served = orderOf(state, { ...ledger.latest?.served, [name]: issued.fingerprint256 });
  ledger.ask({ served, trusted });
  return { ...pairOf(`${state}-${name}`, issued), ...files };
}

/** The certificates in the order of the names: the first one is the default. */
function orderOf(state: StateName, served: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(NAMES[state].flatMap((name) => name in served ? [[name, served[name]!]] : []));
}

function trustFiles({ clientCas, clientIntermediate, identities }: Authorities, random: Random) {
  const names = random.pick(TRUSTS);
  const revokes = random.chance(0.5);
  const cas = names.map((name) => clientCas[name]!);
  const isTrusted = ({ authority, isRevocable }: Authorities["identities"][number]) =>
    authority !== undefined && names.includes(authority) && !(isRevocable && revokes);
  return {
    files: {
      "mutual.ca": cas.map(({ cert }) => cert).join(""),
      "mutual.crl": cas.map(({ clean, revoking }) => revokes ? revoking : clean).join(""),
      "mutual.intermediates": names.includes("a") ? clientIntermediate : cas[0]!.cert,
    },
    trusted: identities.filter(isTrusted).map(({ name }) => name),
  };
}

/** Writes files as renewal tools do: in place one after the other, or beside and renamed; again if the disk is full. */
export async function writeFiles(folder: string, files: Files, random: Random): Promise<void> {
  const isRenamed = random.chance(0.5);
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    const write = async () => {
      const beside = isRenamed ? `${path}.new` : path;
      await writeFile(beside, content, { mode: 0o600 });
      if (isRenamed) await rename(beside, path);
    };
    while (!await write().then(() => true, isPassing)) await delay(RETRY_MS);
    if (random.chance(0.2)) await delay(random.between(0, 200));
  }
}

/** Returns `false` for the errors that a disturbance causes. */
function isPassing(error: NodeJS.ErrnoException): false {
  if (error.code !== "ENOSPC" && error.code !== "EACCES") throw error;
  return false;
}

/** The value of a store. */
export function valueOf(files: Files): { cert: string; key: string } {
  const [cert, key] = Object.values(files).map((content) => content.toString());
  return { cert: cert!, key: key! };
}
