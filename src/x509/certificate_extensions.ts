import type { CertificateStructure } from "./certificate_structure.ts";
import {
  type AuthorityKeyIdentifier,
  type BasicConstraints,
  type Extension,
  type KeyUsage,
  type NameConstraints,
  readAuthorityKeyIdentifier,
  readBasicConstraints,
  readExtendedKeyUsage,
  readExtension,
  readKeyUsage,
  readNameConstraints,
  readSubjectAltNames,
  readSubjectKeyIdentifier,
  valueOf,
} from "./extension.ts";
import type { GeneralName } from "./general_name.ts";

/** The extensions that are understood, by their names in RFC 5280 section 4.2.1. */
export const ExtensionId = {
  subjectKeyIdentifier: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  nameConstraints: "2.5.29.30",
  authorityKeyIdentifier: "2.5.29.35",
  extKeyUsage: "2.5.29.37",
} as const;

/** Purposes of a key (RFC 5280 section 4.2.1.12). */
export const KeyPurpose = {
  any: "2.5.29.37.0",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
} as const;

/** How the value of each extension is read. */
const READERS = {
  subjectKeyIdentifier: readSubjectKeyIdentifier,
  keyUsage: readKeyUsage,
  subjectAltName: readSubjectAltNames,
  basicConstraints: readBasicConstraints,
  nameConstraints: readNameConstraints,
  authorityKeyIdentifier: readAuthorityKeyIdentifier,
  extKeyUsage: readExtendedKeyUsage,
};

type ExtensionName = keyof typeof READERS;

/**
 * The extensions of one certificate. Each value is read when it is first used, and kept.
 *
 * Invariant: a getter returns `undefined` if the certificate does not have the extension, and throws a `RangeError` if
 * the extension is malformed, so a malformed limit never counts as absent.
 */
export class CertificateExtensions {
  /** All extensions, in their order. */
  readonly list: readonly Extension[];
  readonly #values = new Map<ExtensionName, unknown>();

  /**
   * Reads the list.
   *
   * @throws {RangeError} If an extension is malformed or repeated (RFC 5280 section 4.2).
   */
  constructor({ extensions }: Pick<CertificateStructure, "extensions">) {
    this.list = extensions.map(readExtension);
    if (new Set(this.list.map(({ id }) => id)).size < this.list.length) {
      throw new RangeError("an extension of the certificate is repeated");
    }
  }

  /** Whether the certificate is an authority. */
  get basicConstraints(): BasicConstraints | undefined {
    return this.#get("basicConstraints");
  }

  /** The usages that the key is limited to. */
  get keyUsage(): ReadonlySet<KeyUsage> | undefined {
    return this.#get("keyUsage");
  }

  /** The purposes that the key is limited to, as object identifiers; some are in {@linkcode KeyPurpose}. */
  get extendedKeyUsage(): readonly string[] | undefined {
    return this.#get("extKeyUsage");
  }

  /** The identifier of the key, in upper-case hexadecimal. */
  get subjectKeyIdentifier(): string | undefined {
    return this.#get("subjectKeyIdentifier");
  }

  /** Identifies the certificate of the issuer. */
  get authorityKeyIdentifier(): AuthorityKeyIdentifier | undefined {
    return this.#get("authorityKeyIdentifier");
  }

  /** The names that the certificate may issue for. */
  get nameConstraints(): NameConstraints | undefined {
    return this.#get("nameConstraints");
  }

  /** The names of the holder beside the subject. */
  get subjectAltNames(): readonly GeneralName[] | undefined {
    return this.#get("subjectAltName");
  }

  /** Whether the certificate has an extension that is critical. */
  isCritical(name: ExtensionName): boolean {
    return this.list.some(({ id, isCritical }) => id === ExtensionId[name] && isCritical);
  }

  /** Reads every extension. Throws a `RangeError` if one of them is malformed. */
  requireWellFormed(): void {
    for (const name of Object.keys(READERS)) this.#get(name as ExtensionName);
  }

  #get<Name extends ExtensionName>(name: Name): ReturnType<typeof READERS[Name]> | undefined {
    if (!this.#values.has(name)) {
      const extension = this.list.find(({ id }) => id === ExtensionId[name]);
      this.#values.set(name, extension && READERS[name](valueOf(extension)));
    }
    return this.#values.get(name) as ReturnType<typeof READERS[Name]> | undefined;
  }
}
