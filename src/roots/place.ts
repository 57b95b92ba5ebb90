import type { RootSource } from "./store.ts";

/** A file or a keychain, which is read as a whole. */
export interface RootDocument {
  readonly path: string;
  /** Documents with the same identity are read once. */
  readonly id: string;
  /** Its bytes; `undefined` if there is nothing to read, which is not an error. */
  read(): Uint8Array | undefined;
  /** Whether one of its certificates is trusted; absent if all are. */
  trusts?(der: Uint8Array): boolean;
}

/** A place where roots may be. */
export interface RootPlace {
  readonly origin: RootSource["origin"];
  /** The file, directory or keychain. */
  readonly path: string | undefined;
  /** Only the first of these places that exists is read. */
  readonly isAlternative?: boolean;
  /** Finds the documents, in the background. The signal aborts when the caller stops waiting. */
  find(signal: AbortSignal): Promise<readonly RootDocument[]>;
}
