/** The public facts of a revocation list. */
export interface CrlFacts {
  /** The issuer, such as `CN=Example CA,O=Example` (RFC 4514). */
  readonly issuer: string;
  /** The number of the list in upper-case hexadecimal (RFC 5280 section 5.2.3); `undefined` if not given. */
  readonly crlNumber: string | undefined;
  /** The time of its issue. */
  readonly thisUpdate: Date;
  /** The time by which the next list is issued; `undefined` if it does not say, which RFC 5280 does not allow. */
  readonly nextUpdate: Date | undefined;
  /** How many serial numbers are revoked. */
  readonly size: number;
  /** SHA-256 of the DER in upper-case hexadecimal with colons. */
  readonly fingerprint256: string;
}
