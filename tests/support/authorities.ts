import { encodeDer } from "../../src/x509/der.ts";
import type { Kind, Names, Profile, Shape } from "./authority_shapes.ts";
import { DAY_MS, makeAuthority } from "./chains.ts";
import {
  ecKey,
  extension,
  general,
  integer,
  keyIdentifierOf,
  type KeyPair,
  type Made,
  make,
  nameOf,
  rsaKey,
  sequence,
} from "./made_certificates.ts";

/** A chain as a server sends it, and the root that clients have. */
export interface ShapedChain {
  /** What makes it differ from every other one. */
  readonly what: string;
  readonly chain: readonly Made[];
  readonly root: Made;
}

const YEAR_MS = 365 * DAY_MS;
const now = Date.now();
const KEY_USAGE = { ec: 0x80, rsa: 0xa0 } as const;
const EMPTY_NAME_LENGTH = nameOf().length;
/** The parts of a life at which certificates are looked at, from new ones to those that clients are about to renew. */
const AGES = [0.01, 0.2, 0.35, 0.5, 0.66, 0.79];

/** The chains of an authority: of each kind some, whose profiles, names and ages take turns. */
export function* chainsOf(shape: Shape): Iterable<ShapedChain> {
  let turn = 0;
  for (const kinds of shape.keys) {
    const [rootKind, intermediateKind, leafKind] = kinds;
    const root = makeAuthority(`${shape.name} root`, { key: keyOf(rootKind, "root"), notAfter: now + 15 * YEAR_MS });
    const intermediate = shape.isDirect ? undefined : makeAuthority(`${shape.name} intermediate`, {
      issuer: root,
      key: keyOf(intermediateKind, "intermediate"),
      notAfter: now + 4 * YEAR_MS,
      ...shape.intermediate,
    });
    for (const end of shape.ends ?? ["root"]) {
      const above = [
        ...(intermediate ? [intermediate] : []),
        ...(shape.sendsRoot ? [root] : []),
        ...(end === "cross" ? [crossOf(root)] : []),
      ];
      for (const lifeMs of shape.lifeMs) {
        for (const age of AGES) {
          const [profile, name] = [turn % shape.profiles.length, turn % shape.names.length];
          turn++;
          const leaf = makeServer(intermediate ?? root, leafKind, shape.profiles[profile]!, shape.names[name]!, {
            notBefore: now - age * lifeMs,
            notAfter: now + (1 - age) * lifeMs,
          });
          const what = [shape.name, ...kinds, end, lifeMs, age, profile, name].join(" ");
          yield { what, chain: [leaf, ...above], root };
        }
      }
    }
  }
}

function makeServer(
  issuer: Made,
  kind: Kind,
  profile: Profile,
  names: Names,
  validity: { notBefore: number; notAfter: number },
): Made {
  const { purposes, subject = nameOf(["2.5.4.3", "www.example.com"]), more = [] } = profile;
  const { hasBasicConstraints = true, hasSubjectKeyIdentifier = true, hasIssuerSerial = false } = profile;
  const key = keyOf(kind, "leaf");
  return make({
    issuer,
    key,
    subject,
    ...validity,
    extensions: [
      extension.keyUsage(KEY_USAGE[kind === "rsa" ? "rsa" : "ec"]),
      ...(purposes.length > 0 ? [extension.extKeyUsage(...purposes)] : []),
      ...(hasBasicConstraints ? [extension.basicConstraints(false)] : []),
      ...(hasSubjectKeyIdentifier ? [extension.subjectKeyIdentifier(keyIdentifierOf(key))] : []),
      hasIssuerSerial ? keyIdAndSerialOf(issuer) : extension.keyIdOf(issuer),
      extension.raw("2.5.29.17", sequence(...names), subject.length === EMPTY_NAME_LENGTH),
      ...more,
    ],
  });
}

function keyIdAndSerialOf({ keyIdentifier, subject, serialNumber }: Made): Uint8Array {
  return extension.authorityKeyIdentifier(
    encodeDer(0x80, keyIdentifier),
    encodeDer(0xa1, general.directory(subject)),
    encodeDer(0x82, integer(serialNumber).subarray(2)),
  );
}

/** A root signed by an older root, as new roots are sent along for old clients. */
function crossOf(root: Made): Made {
  const older = makeAuthority("older root", { key: keyOf("rsa", "older root") });
  return makeAuthority("", { subject: root.subject, issuer: older, key: root.key, notAfter: now + 3 * YEAR_MS });
}

const pool = new Map<string, KeyPair>();
/** A few keys are enough, because generating one of RSA takes longer than all the rest. */
function keyOf(kind: Kind, use: string): KeyPair {
  const id = `${kind} ${use}`;
  let pair = pool.get(id);
  if (!pair) {
    pair = kind === "rsa" ? rsaKey() : ecKey(kind === "p256" ? "P-256" : "P-384");
    pool.set(id, pair);
  }
  return pair;
}
