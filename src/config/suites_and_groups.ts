/** Cipher suites of TLS 1.3 by name (RFC 8446 appendix B.4). */
const TLS_1_3_SUITES: ReadonlyMap<string, number> = new Map([
  ["TLS_AES_128_GCM_SHA256", 0x1301],
  ["TLS_AES_256_GCM_SHA384", 0x1302],
  ["TLS_CHACHA20_POLY1305_SHA256", 0x1303],
]);

/** Cipher suites of TLS 1.2 by their OpenSSL names: all that a version of a runtime has enabled by default. */
const TLS_1_2_SUITES: ReadonlyMap<string, number> = new Map([
  ["ECDHE-ECDSA-AES128-GCM-SHA256", 0xc02b],
  ["ECDHE-ECDSA-AES256-GCM-SHA384", 0xc02c],
  ["ECDHE-RSA-AES128-GCM-SHA256", 0xc02f],
  ["ECDHE-RSA-AES256-GCM-SHA384", 0xc030],
  ["ECDHE-ECDSA-CHACHA20-POLY1305", 0xcca9],
  ["ECDHE-RSA-CHACHA20-POLY1305", 0xcca8],
  ["ECDHE-ECDSA-AES128-SHA256", 0xc023],
  ["ECDHE-ECDSA-AES256-SHA384", 0xc024],
  ["ECDHE-RSA-AES128-SHA256", 0xc027],
  ["ECDHE-RSA-AES256-SHA384", 0xc028],
  ["ECDHE-ECDSA-AES128-SHA", 0xc009],
  ["ECDHE-ECDSA-AES256-SHA", 0xc00a],
  ["ECDHE-RSA-AES128-SHA", 0xc013],
  ["ECDHE-RSA-AES256-SHA", 0xc014],
  ["AES128-GCM-SHA256", 0x009c],
  ["AES256-GCM-SHA384", 0x009d],
  ["AES128-SHA256", 0x003c],
  ["AES256-SHA256", 0x003d],
  ["AES128-SHA", 0x002f],
  ["AES256-SHA", 0x0035],
]);

/** Groups for key exchange (RFC 8446 section 4.2.7; X25519MLKEM768: draft-ietf-tls-ecdhe-mlkem). */
const GROUPS: ReadonlyMap<string, number> = new Map([
  ["X25519", 0x001d],
  ["P-256", 0x0017],
  ["P-384", 0x0018],
  ["P-521", 0x0019],
  ["X25519MLKEM768", 0x11ec],
]);

/** Whether a name is the OpenSSL name of a cipher suite that the option `ciphers` accepts. */
export function isCipherSuite(name: string): boolean {
  return TLS_1_3_SUITES.has(name) || TLS_1_2_SUITES.has(name);
}

/** Whether a name is that of a cipher suite of TLS 1.3, which TLS 1.2 cannot use. */
export function isTls13Suite(name: string): boolean {
  return TLS_1_3_SUITES.has(name);
}

/** Whether a name is that of a group for key exchange. */
export function isNamedGroup(name: string): boolean {
  return GROUPS.has(name);
}

/** The code points of the cipher suites of a version, by their names. */
export function suitesOf(version: "TLSv1.2" | "TLSv1.3"): ReadonlyMap<string, number> {
  return version === "TLSv1.3" ? TLS_1_3_SUITES : TLS_1_2_SUITES;
}

/** The code points of all groups, by their names. */
export function namedGroups(): ReadonlyMap<string, number> {
  return GROUPS;
}
