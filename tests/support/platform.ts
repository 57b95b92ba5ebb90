import process from "node:process";

const isWindows = process.platform === "win32";

/** Why tests of unix sockets are skipped, or `false`. */
export const NO_UNIX_SOCKETS: string | false = isWindows && "a path of Windows is no socket for every runtime";
/** Why tests of FIFOs and devices are skipped, or `false`. */
export const NO_SPECIAL_FILES: string | false = isWindows && "Windows has no FIFO and no device among its files";
/** Why tests that take the permission to read a file away are skipped, or `false`. */
export const NO_FILE_MODES: string | false = isWindows && "Windows has no file modes";

/** Runs as a user without rights, because root may read everything. */
export async function asNobody<T>(body: () => Promise<T>): Promise<T> {
  const user = process.geteuid?.();
  if (user !== 0) return await body();
  process.seteuid!(65534);
  try {
    return await body();
  } finally {
    process.seteuid!(user);
  }
}
