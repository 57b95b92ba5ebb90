import { assertEquals } from "@std/assert";
import test from "node:test";
import {
  type AuthorityOptions,
  DAY_MS,
  findingsAbout,
  type LeafOptions,
  makeAuthority,
  makeLeaf,
} from "../support/chains.ts";
import {
  CLIENT_AUTH,
  ecKey,
  extension,
  general,
  keyIdentifierOf,
  type KeyPair,
  type Made,
  make,
  nameOf,
  octets,
  oid,
  rsaKey,
  sequence,
  SERVER_AUTH,
  text,
} from "../support/made_certificates.ts";

const YEAR_MS = 365 * DAY_MS;
const HOUR_MS = 3_600_000;
const now = Date.now();

/** What certificates of public authorities hold beside what rules look at. */
const PUBLIC = [
  extension.raw(
    "1.3.6.1.5.5.7.1.1",
    sequence(sequence(oid("1.3.6.1.5.5.7.48.2"), text(0x86, "http://ca.example/i.crt"))),
  ),
  extension.raw("2.5.29.32", sequence(sequence(oid("2.23.140.1.2.1")))),
  extension.raw("2.5.29.31", sequence(sequence(wrap(0xa0, wrap(0xa0, text(0x86, "http://ca.example/1.crl")))))),
  extension.raw("1.3.6.1.4.1.11129.2.4.2", octets(new Uint8Array(120))),
];

/** The chains that an authority gives out, as it gives them out. */
interface Shape {
  readonly name: string;
  /** The kinds of keys of roots, intermediates and servers. */
  readonly keys: readonly (readonly [root: Kind, intermediate: Kind, leaf: Kind])[];
  /** How long a server certificate is valid. */
  readonly lifeMs: readonly number[];
  /** Above the intermediate: the root alone, or a link of another root too. */
  readonly links?: readonly ("root" | "cross")[];
  /** Whether the root itself issues, with no intermediate. */
  readonly isDirect?: boolean;
  readonly sendsRoot?: boolean;
  readonly intermediate?: AuthorityOptions;
  readonly leaf?: LeafOptions;
}

type Kind = "rsa2048" | "rsa4096" | "p256" | "p384";
const pool = new Map<string, KeyPair>();
/** A few keys are enough: making one of RSA takes longer than all the rest. */
function key(kind: Kind, use: string): KeyPair {
  const id = `${kind} ${use}`;
  let pair = pool.get(id);
  if (!pair) {
    pair = kind.startsWith("rsa")
      ? rsaKey(Number(kind.slice("rsa".length)))
      : ecKey(kind === "p256" ? "P-256" : "P-384");
    pool.set(id, pair);
  }
  return pair;
}

const purposes = (...ids: readonly string[]) => [extension.extKeyUsage(...ids)];
const subjectOnly = { subject: nameOf() } as const;
const publicLeaf = { more: PUBLIC };
const SHAPES: readonly Shape[] = [
  {
    name: "Let's Encrypt E",
    keys: [["p384", "p384", "p256"], ["p384", "p384", "p384"], ["p384", "p384", "rsa2048"], [
      "rsa4096",
      "p384",
      "p256",
    ]],
    lifeMs: [90 * DAY_MS, 45 * DAY_MS, 160 * HOUR_MS],
    links: ["root", "cross"],
    intermediate: { pathLength: 0, more: purposes(SERVER_AUTH) },
    leaf: publicLeaf,
  },
  {
    name: "Let's Encrypt R",
    keys: [["rsa4096", "rsa2048", "rsa2048"], ["rsa4096", "rsa2048", "p256"]],
    lifeMs: [90 * DAY_MS, 45 * DAY_MS],
    links: ["root", "cross"],
    intermediate: { pathLength: 0, more: purposes(CLIENT_AUTH, SERVER_AUTH) },
    leaf: { ...publicLeaf, keyUsage: 0xa0, purposes: [SERVER_AUTH, CLIENT_AUTH] },
  },
  {
    name: "ZeroSSL",
    keys: [["p384", "p256", "p256"], ["rsa4096", "rsa4096", "rsa2048"]],
    lifeMs: [90 * DAY_MS],
    links: ["root", "cross"],
    intermediate: { pathLength: 0, more: purposes(SERVER_AUTH, CLIENT_AUTH) },
    leaf: { ...publicLeaf, keyUsage: 0xa0 },
  },
  {
    name: "Sectigo",
    keys: [["rsa4096", "rsa2048", "rsa2048"], ["p384", "p256", "p256"], ["p384", "p384", "rsa2048"]],
    lifeMs: [199 * DAY_MS, 90 * DAY_MS],
    links: ["root", "cross"],
    intermediate: { pathLength: 0, more: purposes(SERVER_AUTH, CLIENT_AUTH) },
    leaf: { ...publicLeaf, keyUsage: 0xa0, names: [general.dns("example.com"), general.dns("www.example.com")] },
  },
  {
    name: "Google Trust Services",
    keys: [["rsa4096", "rsa2048", "p256"], ["p384", "p256", "p256"], ["p384", "p256", "rsa2048"]],
    lifeMs: [84 * DAY_MS, 90 * DAY_MS],
    links: ["cross"],
    intermediate: { pathLength: 0, more: purposes(SERVER_AUTH, CLIENT_AUTH) },
    leaf: { ...publicLeaf, names: [general.dns("*.example.com"), general.dns("example.com")] },
  },
  {
    name: "DigiCert",
    keys: [["rsa2048", "rsa2048", "rsa2048"], ["p384", "p384", "p256"], ["rsa4096", "rsa4096", "rsa2048"]],
    lifeMs: [199 * DAY_MS, 397 * DAY_MS],
    intermediate: { pathLength: 0, more: purposes(SERVER_AUTH, CLIENT_AUTH) },
    leaf: {
      ...publicLeaf,
      keyUsage: 0xa0,
      subject: nameOf(["2.5.4.6", "US", 0x13], ["2.5.4.8", "Utah"], ["2.5.4.10", "Example, Inc."], [
        "2.5.4.3",
        "example.com",
      ]),
      names: [general.dns("example.com"), general.dns("www.example.com")],
    },
  },
  {
    name: "step-ca",
    keys: [["p256", "p256", "p256"], ["p256", "p256", "rsa2048"], ["rsa4096", "rsa2048", "rsa2048"]],
    lifeMs: [24 * HOUR_MS, 5 * 60_000, 30 * DAY_MS],
    intermediate: { pathLength: 0 },
    leaf: {
      purposes: [SERVER_AUTH, CLIENT_AUTH],
      more: [extension.raw("1.3.6.1.4.1.37476.9000.64.1", octets(new Uint8Array(40)))],
    },
  },
  {
    name: "Vault, root alone",
    keys: [["rsa2048", "rsa2048", "rsa2048"], ["p256", "p256", "p256"]],
    lifeMs: [768 * HOUR_MS, 72 * HOUR_MS],
    isDirect: true,
    sendsRoot: true,
    leaf: { keyUsage: 0xa8, purposes: [SERVER_AUTH, CLIENT_AUTH] },
  },
  {
    name: "Vault, intermediate",
    keys: [["rsa2048", "rsa2048", "rsa2048"], ["rsa4096", "p256", "p256"]],
    lifeMs: [768 * HOUR_MS, 24 * HOUR_MS],
    sendsRoot: true,
    leaf: { keyUsage: 0xa8, purposes: [SERVER_AUTH, CLIENT_AUTH] },
  },
  {
    name: "cert-manager, CA issuer",
    keys: [["p256", "p256", "p256"], ["rsa2048", "rsa2048", "rsa2048"]],
    lifeMs: [90 * DAY_MS],
    isDirect: true,
    // It sets an empty subject, and then a critical subjectAltName.
    leaf: { keyUsage: 0xa0, purposes: [], ...subjectOnly, names: [] },
  },
  {
    name: "mkcert",
    keys: [["rsa4096", "rsa2048", "rsa2048"], ["rsa4096", "p256", "p256"]],
    lifeMs: [820 * DAY_MS],
    isDirect: true,
    leaf: {
      keyUsage: 0xa0,
      names: [general.dns("localhost"), general.ip(127, 0, 0, 1), general.ip(...Array(15).fill(0), 1)],
    },
  },
  {
    name: "Caddy, internal",
    keys: [["p256", "p256", "p256"]],
    lifeMs: [12 * HOUR_MS],
    intermediate: { pathLength: 0, notBefore: now - DAY_MS, notAfter: now + 6 * DAY_MS },
    leaf: { purposes: [SERVER_AUTH, CLIENT_AUTH], ...subjectOnly, names: [] },
  },
];

/** The parts of a life at which certificates are looked at: new, in the middle, and when clients renew. */
const AGES = [0.01, 0.5, 0.66, 0.79];

function* chainsOf(shape: Shape): Iterable<{ chain: Made[]; root: Made }> {
  for (const [rootKind, intermediateKind, leafKind] of shape.keys) {
    const root = makeAuthority(`${shape.name} root`, { key: key(rootKind, "root"), notAfter: now + 15 * YEAR_MS });
    const intermediate = shape.isDirect ? undefined : makeAuthority(`${shape.name} intermediate`, {
      issuer: root,
      key: key(intermediateKind, "intermediate"),
      notAfter: now + 4 * YEAR_MS,
      ...shape.intermediate,
    });
    for (const link of shape.links ?? ["root"]) {
      for (const lifeMs of shape.lifeMs) {
        for (const age of AGES) {
          const leaf = leafOf(intermediate ?? root, leafKind, shape, {
            notBefore: now - age * lifeMs,
            notAfter: now + (1 - age) * lifeMs,
          });
          const chain = [leaf, ...(intermediate ? [intermediate] : []), ...(shape.sendsRoot ? [root] : [])];
          if (link === "root") yield { chain, root };
          else yield { chain: [...chain, crossOf(root)], root };
        }
      }
    }
  }
}

/** A root signed by an older root, as new roots are sent along for old clients. */
function crossOf(root: Made): Made {
  const older = makeAuthority("older root", { key: key("rsa2048", "older root") });
  return makeAuthority("", { subject: root.subject, issuer: older, key: root.key, notAfter: now + 3 * YEAR_MS });
}

function leafOf(issuer: Made, kind: Kind, { leaf = {} }: Shape, validity: LeafOptions): Made {
  const options = { key: key(kind, "leaf"), ...leaf, ...validity };
  if (leaf.names?.length !== 0) return makeLeaf(issuer, options);
  const critical = extension.raw("2.5.29.17", sequence(general.dns("www.example.com")), true);
  return makeLeaf(issuer, { ...options, more: [...leaf.more ?? [], critical] });
}

function wrap(tag: number, content: Uint8Array): Uint8Array {
  return new Uint8Array([tag, content.length, ...content]);
}

let count = 0;
for (const shape of SHAPES) {
  test(`chains in the shape of ${shape.name} have no error and no warning but of their length, with and without roots`, () => {
    for (const { chain, root } of chainsOf(shape)) {
      for (const roots of [undefined, [root]]) {
        const found = findingsAbout(chain, { at: now, ...(roots && { roots }) })
          .filter(({ severity, code }) =>
            severity === "error" || (severity === "warning" && code !== "LIFETIME_TOO_LONG")
          );
        assertEquals(found, []);
        count++;
      }
    }
  });
}

test("the chains above are more than 500", () => assertEquals(count > 500, true, String(count)));

test("the name of an issuer that was renewed with its key leads to either of the two", () => {
  const pair = ecKey();
  const old = makeAuthority("root", { key: pair, notAfter: now + YEAR_MS });
  const renewed = makeAuthority("root", { key: pair, notAfter: now + 9 * YEAR_MS });
  assertEquals(findingsAbout([makeLeaf(old)], { roots: [renewed] }), []);
  assertEquals(keyIdentifierOf(pair).length, 20);
  assertEquals(make({ key: pair }).keyIdentifier, old.keyIdentifier);
});
