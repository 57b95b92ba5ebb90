import type { RootSource } from "./store.ts";

/** A file or a keychain that is read as a whole. */
export interface RootDocument {
  readonly path: string;
  /** Documents with the same identity are read once. */
  readonly id: string;
  /** The bytes; `undefined` if the document does not exist, which is not an error. */
  read(): Uint8Array | undefined;
  /** Whether a certificate of the document is trusted; absent if all are. */
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
