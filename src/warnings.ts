import process from "node:process";

/** Tells the operator, as a process warning, what nobody else has asked to hear. */
export function warn(error: unknown): void {
  process.emitWarning(isPrintable(error) ? error : messageOf(error));
}

/** What throws while the runtime prints it, which is later, ends the process. */
function isPrintable(error: unknown): error is Error {
  try {
    const { name, code, stack } = error as NodeJS.ErrnoException;
    return error instanceof Error && `${name} ${code} ${stack} ${error}` !== "";
  } catch {
    return false;
  }
}

/** What an error says, whatever was thrown. */
export function messageOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error);
  } catch {
    return "what was thrown has no text";
  }
}
