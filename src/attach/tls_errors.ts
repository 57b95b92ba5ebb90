import type { TlsReloadError } from "../errors.ts";
import { guarded } from "../warnings.ts";
import type { AttachOptions } from "./attachment.ts";

/** Calls the listener of the user. An error that the listener throws is emitted as a process warning. */
export function reportTlsError(listener: AttachOptions["onTlsError"], error: TlsReloadError): void {
  guarded(() => listener?.(error));
}
