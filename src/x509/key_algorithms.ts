/** The object identifiers of public key algorithms (RFC 3279, RFC 8410). */
export const KeyAlgorithm = {
  rsa: "1.2.840.113549.1.1.1",
  rsaPss: "1.2.840.113549.1.1.10",
  dsa: "1.2.840.10040.4.1",
  dh: "1.2.840.113549.1.3.1",
  ec: "1.2.840.10045.2.1",
  x25519: "1.3.101.110",
  x448: "1.3.101.111",
  ed25519: "1.3.101.112",
  ed448: "1.3.101.113",
} as const;

/** A curve of ECDSA. */
export interface Curve {
  /** The name in SP 800-186. */
  readonly name: string;
  /** The length of the order in bits. */
  readonly bits: number;
  /** The order of the base point, for the curves on which every runtime serves TLS (SEC 2 section 2). */
  readonly order?: bigint;
}

/** The order of P-521 (SP 800-186 section 3.2.1.5). */
export const P521_ORDER =
  0x01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n;

/** The curves of NIST by their object identifiers (RFC 5480 section 2.1.1.1). */
export const CURVES: Readonly<Record<string, Curve>> = {
  "1.2.840.10045.3.1.1": { name: "P-192", bits: 192 },
  "1.3.132.0.33": { name: "P-224", bits: 224 },
  "1.2.840.10045.3.1.7": {
    name: "P-256",
    bits: 256,
    order: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  },
  "1.3.132.0.34": {
    name: "P-384",
    bits: 384,
    order: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  },
  "1.3.132.0.35": { name: "P-521", bits: 521, order: P521_ORDER },
};
