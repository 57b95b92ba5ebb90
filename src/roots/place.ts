import type { RootSource } from "./store.ts";

/** What is to be read as one: a file or a keychain. */
export interface RootDocument {
  readonly path: string;
  /** Of documents with the same identity one is read. */
  readonly id: string;
  /** Its bytes, or `undefined` if there is nothing to be read and nothing wrong with that. */
  read(): Uint8Array | undefined;
  /** Tells which of its certificates are trusted; absent, where all are. */
  trusts?(der: Uint8Array): boolean;
}

/** A place where roots may be. */
export interface RootPlace {
  readonly origin: RootSource["origin"];
  /** The file, directory or keychain. */
  readonly path: string | undefined;
  /** Of all such places only the first that exists is read. */
  readonly isAlternative?: boolean;
  /** Finds what is to be read there, in the background; the signal says that nobody waits for it any more. */
  find(signal: AbortSignal): Promise<readonly RootDocument[]>;
}
