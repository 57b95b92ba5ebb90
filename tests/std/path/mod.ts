// A stand-in of the few functions of @std/path that the tests use, for machines that cannot reach JSR.
export { basename, dirname, join, resolve } from "node:path";
export { fileURLToPath as fromFileUrl, pathToFileURL as toFileUrl } from "node:url";
