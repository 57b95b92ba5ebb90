import process from "node:process";

const isWindows = process.platform === "win32";

/** Why tests of unix sockets are skipped, or `false`. */
export const NO_UNIX_SOCKETS: string | false = isWindows && "a path of Windows is no socket for every runtime";
/** Why tests of FIFOs and devices are skipped, or `false`. */
export const NO_SPECIAL_FILES: string | false = isWindows && "Windows has no FIFO and no device among its files";
/** Why tests that take the permission to read a file away are skipped, or `false`. */
export const NO_FILE_MODES: string | false = isWindows && "Windows has no file modes";
