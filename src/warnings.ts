import process from "node:process";

/** Emits a process warning for an error that no listener has handled. */
export function warn(error: unknown): void {
  process.emitWarning(isPrintable(error) ? error : messageOf(error));
}

/** Calls a function of the user. What it throws, or its promise rejects with, becomes a warning and ends nothing. */
export function guarded(call: () => unknown): void {
  try {
    const result = call();
    if (result instanceof Promise) result.catch(warn);
  } catch (error) {
    warn(error);
  }
}

/** The runtime prints the warning later. An error whose properties throw would end the process then. */
function isPrintable(error: unknown): error is Error {
  try {
    const { name, code, stack } = error as NodeJS.ErrnoException;
    return error instanceof Error && `${name} ${code} ${stack} ${error}` !== "";
  } catch {
    return false;
  }
}

/** The message of an error, or the text of any other value that was thrown. */
export function messageOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error);
  } catch {
    return "what was thrown has no text";
  }
}
