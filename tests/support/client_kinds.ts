import { Buffer } from "node:buffer";
import { encodeDer } from "../../src/x509/der.ts";
import {
  bits,
  boolean,
  CLIENT_AUTH,
  commonName,
  ecKey,
  extension,
  general,
  integer,
  keyIdentifierOf,
  type KeyPair,
  type Made,
  make,
  type MakeOptions,
  nameOf,
  octets,
  oid,
  rsaKey,
  sequence,
  SERVER_AUTH,
} from "./made_certificates.ts";

const HOUR_MS = 3_600_000;

/** A client, what it sends beside its own certificate, and the authorities of the server. */
export type Chain = readonly [leaf: Made, intermediates: readonly Made[], anchors: readonly Made[]];

/** What stands in an authority. */
export function caExtensions(key: KeyPair, pathLength?: number): Uint8Array[] {
  return [
    extension.basicConstraints(true, pathLength),
    extension.keyUsage(0x06),
    extension.subjectKeyIdentifier(keyIdentifierOf(key)),
  ];
}

/** An authority; intermediate, if it has an issuer. */
export function ca(options: MakeOptions = {}): Made {
  const { key = ecKey(), issuer } = options;
  const extensions = [...caExtensions(key), ...(issuer ? [extension.keyIdOf(issuer)] : [])];
  return make({ subject: issuer ? "intermediate" : "authority", key, extensions, ...options });
}

/** A client that is let in, unless the options change it. */
export function client(issuer: Made, options: MakeOptions = {}): Made {
  const extensions = [
    extension.basicConstraints(false),
    extension.keyUsage(0x80),
    extension.extKeyUsage(CLIENT_AUTH),
    extension.keyIdOf(issuer),
  ];
  return make({ subject: "client", issuer, extensions, ...options });
}

/** An authority of no special kind. */
export const root = ca();
/** An intermediate one under it. */
export const intermediate = ca({ issuer: root });

/** A kind of client that must be refused. */
export interface RefusedClient {
  readonly chain: () => Chain;
  /** What the reason says. */
  readonly reason: string;
  /** Where OpenSSL lets in what is refused here, why it is refused nevertheless. */
  readonly stricterThanOpenssl?: string;
}

const expired = { notBefore: Date.now() - 2 * HOUR_MS, notAfter: Date.now() - HOUR_MS };
const early = { notBefore: Date.now() + HOUR_MS, notAfter: Date.now() + 2 * HOUR_MS };
const leafWith = (...extensions: readonly Uint8Array[]) => [client(root, { extensions }), [], [root]] as const;
const rootWith = (...extensions: readonly Uint8Array[]) => {
  const authority = ca({ extensions });
  return [client(authority), [], [authority]] as const;
};
const between = (options: MakeOptions) => {
  const issuer = ca({ issuer: root, ...options });
  return [client(issuer), [issuer], [root]] as const;
};
const rootOf = (options: MakeOptions) => {
  const authority = ca(options);
  return [client(authority), [], [authority]] as const;
};
const constrained = (limits: Parameters<typeof extension.nameConstraints>[0], ...names: readonly Uint8Array[]) => {
  const key = ecKey();
  const authority = ca({ key, extensions: [...caExtensions(key), extension.nameConstraints(limits)] });
  return [client(authority, { extensions: [extension.subjectAltName(...names)] }), [], [authority]] as const;
};
const unknown = extension.raw("1.2.3.4", encodeDer(0x05, Buffer.of()), true);
const NOT_ISSUED = "no authority of the configuration";

/** Kinds of clients that nobody lets in. */
export const REFUSED_CLIENTS: Readonly<Record<string, RefusedClient>> = {
  "a client of another authority": { chain: () => [client(ca()), [], [root]], reason: NOT_ISSUED },
  "a client whose intermediate is not sent": { chain: () => [client(intermediate), [], [root]], reason: NOT_ISSUED },
  "an intermediate alone as authority": {
    chain: () => [client(intermediate), [], [intermediate]],
    reason: NOT_ISSUED,
  },
  "a listed client that is not self-signed": {
    chain: () => {
      const leaf = client(root);
      return [leaf, [], [leaf]];
    },
    reason: NOT_ISSUED,
  },
  "a self-signed client that is not listed": { chain: () => [make(), [], [root]], reason: NOT_ISSUED },
  "a listed self-signed client that has expired": {
    chain: () => {
      const leaf = make(expired);
      return [leaf, [], [leaf]];
    },
    reason: "has expired",
  },
  "an expired client": { chain: () => [client(root, expired), [], [root]], reason: "has expired" },
  "a client that is not yet valid": { chain: () => [client(root, early), [], [root]], reason: "not yet valid" },
  "an expired intermediate": { chain: () => between(expired), reason: "has expired" },
  "an intermediate that is not yet valid": { chain: () => between(early), reason: "not yet valid" },
  "an expired authority": { chain: () => rootOf(expired), reason: "has expired" },
  "an authority that is not yet valid": { chain: () => rootOf(early), reason: "not yet valid" },
  "a forged client": { chain: () => [client(root, { isForged: true }), [], [root]], reason: "not the issuer's" },
  "a forged intermediate": { chain: () => between({ isForged: true }), reason: "not the issuer's" },
  "a client of an authority that has the name and the key identifier of another": {
    chain: () => [client({ ...ca(), keyIdentifier: root.keyIdentifier }), [], [root]],
    reason: "not the issuer's",
  },
  "a client signed with SHA-1": {
    chain: () => [client(root, { hash: "sha1" }), [], [root]],
    reason: "signed with sha1",
    stricterThanOpenssl: "SHA-1 is forgeable; openssl verify allows it at its default security level",
  },
  "an intermediate signed with SHA-1": {
    chain: () => between({ hash: "sha1" }),
    reason: "signed with sha1",
    stricterThanOpenssl: "SHA-1 is forgeable; openssl verify allows it at its default security level",
  },
  "two signature algorithms": {
    chain: () => [client(root, { outerAlgorithm: sequence(oid("1.2.840.10045.4.3.4")) }), [], [root]],
    reason: "two signature algorithms",
  },
  "an authority that says that it is not": {
    chain: () => rootWith(extension.basicConstraints(false)),
    reason: "it is not an authority",
  },
  "an authority without basicConstraints": {
    chain: () => rootWith(extension.keyUsage(0x06)),
    reason: "it is not an authority",
    stricterThanOpenssl: "RFC 5280 section 6.1.4 (k); OpenSSL takes keyCertSign for it",
  },
  "a client as an intermediate": {
    chain: () => between({ extensions: [extension.basicConstraints(false)] }),
    reason: "it is not an authority",
  },
  "an authority without keyCertSign": {
    chain: () => rootWith(extension.basicConstraints(true), extension.keyUsage(0x02)),
    reason: "does not let it sign",
  },
  "an intermediate without keyCertSign": {
    chain: () => between({ extensions: [extension.basicConstraints(true), extension.keyUsage(0x02)] }),
    reason: "does not let it sign",
  },
  "an authority over its path length": {
    chain: () => {
      const authority = ca({ key: root.key, extensions: caExtensions(root.key, 0) });
      return [client(intermediate), [intermediate], [authority]];
    },
    reason: "path below it is too long",
  },
  "an intermediate over its path length": {
    chain: () => {
      const key = ecKey();
      const first = ca({ issuer: root, key, extensions: caExtensions(key, 0), subject: "first" });
      const second = ca({ issuer: first });
      return [client(second), [second, first], [root]];
    },
    reason: "path below it is too long",
  },
  "a path of more than ten certificates": {
    chain: () => {
      const chain = [root];
      for (let depth = 0; depth < 9; depth++) chain.unshift(ca({ issuer: chain[0]!, subject: `depth ${depth}` }));
      return [client(chain[0]!), chain.slice(0, -1), [root]];
    },
    reason: "the path is too long",
    stricterThanOpenssl: "OpenSSL ends at a hundred, the runtimes of rustls at eight",
  },
  "a client for servers": { chain: () => leafWith(extension.extKeyUsage(SERVER_AUTH)), reason: "lacks clientAuth" },
  "a client for any purpose": {
    chain: () => leafWith(extension.extKeyUsage("2.5.29.37.0")),
    reason: "lacks clientAuth",
  },
  "an intermediate for servers": {
    chain: () => between({ extensions: [extension.basicConstraints(true), extension.extKeyUsage(SERVER_AUTH)] }),
    reason: "lacks clientAuth",
  },
  "an authority for servers": {
    chain: () => rootWith(extension.basicConstraints(true), extension.extKeyUsage(SERVER_AUTH)),
    reason: "lacks clientAuth",
  },
  "a client that may not sign": {
    chain: () => leafWith(extension.keyUsage(0x20)),
    reason: "does not let it authenticate",
  },
  "a client of which Netscape says that it is a server": {
    chain: () => leafWith(extension.raw("2.16.840.1.113730.1.1", encodeDer(0x03, Buffer.of(6, 0x40)))),
    reason: "nsCertType",
  },
  "an unknown critical extension in the client": { chain: () => leafWith(unknown), reason: "not understood: 1.2.3.4" },
  "an unknown critical extension in an intermediate": {
    chain: () => between({ extensions: [extension.basicConstraints(true), unknown] }),
    reason: "not understood: 1.2.3.4",
  },
  "an unknown critical extension in the authority": {
    chain: () => rootWith(extension.basicConstraints(true), unknown),
    reason: "not understood: 1.2.3.4",
  },
  "a critical authorityKeyIdentifier": {
    chain: () => leafWith(extension.raw("2.5.29.35", sequence(encodeDer(0x80, root.keyIdentifier)), true)),
    reason: "not understood: 2.5.29.35",
  },
  "an empty keyUsage in the authority": {
    chain: () => rootWith(extension.basicConstraints(true), extension.raw("2.5.29.15", encodeDer(0x03, Buffer.of(0)))),
    reason: "keyUsage is empty",
  },
  "a proxy certificate": {
    chain: () => leafWith(extension.raw("1.3.6.1.5.5.7.1.14", sequence(sequence(oid("1.3.6.1.5.5.7.21.1"))), true)),
    reason: "not understood",
  },
  "IP address blocks": {
    chain: () =>
      leafWith(
        extension.raw(
          "1.3.6.1.5.5.7.1.7",
          sequence(sequence(octets(Buffer.of(0, 1)), sequence(bits(Buffer.of(10))))),
        ),
      ),
    reason: "RFC 3779",
  },
  "a broken basicConstraints in the authority": {
    chain: () => rootWith(extension.raw("2.5.29.19", sequence(boolean(true), integer(1), integer(1)))),
    reason: "broken extension",
  },
  "a broken subjectAltName": {
    chain: () => leafWith(extension.subjectAltName(encodeDer(0xa4, Buffer.of(0x30)))),
    reason: "broken extension",
  },
  "a broken otherName": {
    chain: () => leafWith(extension.subjectAltName(encodeDer(0xa0, sequence()))),
    reason: "broken extension",
  },
  "CRL distribution points without a name": {
    chain: () => leafWith(extension.raw("2.5.29.31", sequence(sequence(encodeDer(0x81, Buffer.of(1, 2)))))),
    reason: "broken extension",
  },
  "a client without a name": {
    chain: () => [client(root, { subject: sequence(), extensions: [] }), [], [root]],
    reason: "it has no name",
    stricterThanOpenssl: "RFC 5280 section 4.1.2.6; nothing tells who it is",
  },
  "an authority without a name": {
    chain: () => rootOf({ subject: sequence() }),
    reason: "it has no name",
    stricterThanOpenssl: "RFC 5280 section 4.1.2.4",
  },
  "an authorityKeyIdentifier that points elsewhere": {
    chain: () => leafWith(extension.authorityKeyIdentifier(encodeDer(0x80, Buffer.of(1, 2, 3)))),
    reason: NOT_ISSUED,
  },
  "an authority whose authorityKeyIdentifier points elsewhere": {
    chain: () =>
      rootWith(
        extension.basicConstraints(true),
        extension.subjectKeyIdentifier(Buffer.of(1)),
        extension.authorityKeyIdentifier(encodeDer(0x80, Buffer.of(2))),
      ),
    reason: NOT_ISSUED,
  },
  "an authorityKeyIdentifier with another serial number": {
    chain: () =>
      leafWith(extension.authorityKeyIdentifier(
        encodeDer(0xa1, general.directory(commonName("authority"))),
        encodeDer(0x82, Buffer.of(0x7f)),
      )),
    reason: NOT_ISSUED,
  },
  "an authorityKeyIdentifier with another issuer": {
    chain: () =>
      leafWith(extension.authorityKeyIdentifier(
        encodeDer(0xa1, general.directory(commonName("another"))),
        encodeDer(0x82, Buffer.of(root.serialNumber)),
      )),
    reason: NOT_ISSUED,
  },
  "an authority of version 1": {
    chain: () => rootOf({ version: 1, extensions: [] }),
    reason: "not of version 3",
    stricterThanOpenssl: "RFC 5280 section 4.1.2.1; nothing says that it is an authority",
  },
  "extensions in version 1": {
    chain: () => rootOf({ version: 1 }),
    reason: "not of version 3",
    stricterThanOpenssl: "RFC 5280 section 4.1.2.9",
  },
  "an authority with RSA of 1024 bits": {
    chain: () => rootOf({ key: rsaKey(1024) }),
    reason: "RSA key is too short: 1024",
    stricterThanOpenssl: "112 bits of security are asked for; openssl verify asks for none by default",
  },
  "an intermediate on P-224": {
    chain: () => between({ key: ecKey("P-224") }),
    reason: "not supported: P-224",
    stricterThanOpenssl: "not every runtime verifies with this curve",
  },
  "a name outside of what is permitted": {
    chain: () => constrained({ permitted: [general.dns("example.com")] }, general.dns("example.org")),
    reason: "outside of the name constraints: dns",
  },
  "a name that is excluded": {
    chain: () => constrained({ excluded: [general.email("example.com")] }, general.email("a@example.com")),
    reason: "excluded: email",
  },
  "a name constraint of an authority that an intermediate breaks": {
    chain: () => {
      const key = ecKey();
      const limits = extension.nameConstraints({ permitted: [general.directory(nameOf(["2.5.4.10", "Example"]))] });
      const authority = ca({
        key,
        extensions: [...caExtensions(key), limits],
        subject: nameOf(["2.5.4.10", "Example"]),
      });
      const issuer = ca({ issuer: authority });
      return [client(issuer, { subject: nameOf(["2.5.4.10", "Example"]) }), [issuer], [authority]];
    },
    reason: "outside of the name constraints: directory",
  },
  "name constraints that hold nothing": {
    chain: () => rootWith(extension.basicConstraints(true), extension.raw("2.5.29.30", sequence(), true)),
    reason: "broken extension",
    stricterThanOpenssl: "RFC 5280 section 4.2.1.10",
  },
  "name constraints without number": {
    chain: () => {
      const many = Array.from({ length: 1_100 }, (_, index) => general.dns(`${index}.example.com`));
      return constrained({ excluded: many }, ...many.map((_, index) => general.dns(`${index}.example.org`)));
    },
    reason: "too many to be compared",
  },
};

/** Kinds of clients that everybody lets in, with the number of certificates on their path. */
export const ADMITTED_CLIENTS: Readonly<Record<string, { readonly chain: () => Chain; readonly length: number }>> = {
  "a client of an authority": { chain: () => [client(root), [], [root]], length: 2 },
  "a client of an intermediate": { chain: () => [client(intermediate), [intermediate], [root]], length: 3 },
  "a client that sends its authority as well": {
    chain: () => [client(intermediate), [intermediate, root], [root]],
    length: 3,
  },
  "a client whose intermediate is listed beside its authority": {
    chain: () => [client(intermediate), [], [intermediate, root]],
    length: 3,
  },
  "a client without AKI, SKI and keyUsage on its path": {
    chain: () => {
      const authority = ca({ extensions: [extension.basicConstraints(true)] });
      return [make({ subject: "client", issuer: authority, extensions: [extension.extKeyUsage(CLIENT_AUTH)] }), [], [
        authority,
      ]];
    },
    length: 2,
  },
  "a client whose authority has an EKU with clientAuth": {
    chain: () => {
      const extensions = [extension.basicConstraints(true), extension.extKeyUsage(SERVER_AUTH, CLIENT_AUTH)];
      const authority = ca({ extensions });
      return [client(authority), [], [authority]];
    },
    length: 2,
  },
  "a client with URI names only": {
    chain: () => {
      const names = extension.raw("2.5.29.17", sequence(general.uri("spiffe://example.org/a")), true);
      return [client(root, { subject: sequence(), extensions: [names] }), [], [root]];
    },
    length: 2,
  },
  "a client within its name constraints": {
    chain: () => constrained({ permitted: [general.dns("example.com")] }, general.dns("a.example.com")),
    length: 2,
  },
  "a client at the end of its path length": {
    chain: () => {
      const authority = ca({ key: root.key, extensions: caExtensions(root.key, 1) });
      return [client(intermediate), [intermediate], [authority]];
    },
    length: 3,
  },
  "a client of an RSA authority": {
    chain: () => {
      const authority = ca({ key: rsaKey() });
      return [client(authority), [], [authority]];
    },
    length: 2,
  },
};
