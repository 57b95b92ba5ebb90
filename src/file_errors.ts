/** Whether a file or a folder does not exist, by the error of an operation on it. */
export function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ENOTDIR";
}

/**
 * The reason why a path cannot be read, for a message.
 *
 * @returns The permission that the runtime needs, if it denies the access; otherwise the error code of the system.
 */
export function readFailureReason(path: string | undefined, error: unknown): string {
  const { code, name } = error as NodeJS.ErrnoException;
  if (name === "NotCapable") return `Deno needs --allow-read=${path}`;
  // Node with --permission, or --experimental-permission before 22.13.
  if (code === "ERR_ACCESS_DENIED") return `Node needs --allow-fs-read=${path}`;
  return `the system says ${code ?? name}`;
}
