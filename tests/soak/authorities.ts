import type { Random } from "./random.ts";
import { issueCa, issueClient, type Issued, issueServer } from "../support/certificates.ts";

const DAY_MS = 86_400_000;
/** Longer than the server's clock ever jumps. */
export const DAYS = (days: number): Date => new Date(Date.now() + days * DAY_MS);
const lasting = () => ({ notBefore: DAYS(-30), notAfter: DAYS(30) });

/** Somebody who connects. */
export interface Identity {
  readonly name: string;
  /** Whoever trusts this authority lets it in. */
  readonly authority: string;
  readonly cert?: string;
  readonly key?: string;
}

/** Who vouches for the servers and for the clients of a soak. */
export interface Authorities {
  readonly root: Issued;
  readonly intermediate: Issued;
  /** The client authorities by name. */
  readonly clientCas: Readonly<Record<string, Issued>>;
  readonly identities: readonly Identity[];
}

export async function issueAuthorities(): Promise<Authorities> {
  const root = await issueCa("soak root", lasting());
  const intermediate = await issueCa("soak intermediate", { issuer: root, ...lasting() });
  const [a, b] = [await issueCa("clients A", lasting()), await issueCa("clients B", lasting())];
  const below = await issueCa("clients A below", { issuer: a, ...lasting() });
  const client = async (name: string, authority: string, issuer: Issued, validity = lasting()): Promise<Identity> => {
    const { cert, key } = await issueClient(name, { issuer, ...validity });
    return { name, authority, cert, key };
  };
  return {
    root,
    intermediate,
    clientCas: { a, b },
    identities: [
      await client("client of A", "a", a),
      await client("client of A by an intermediate", "a", below),
      await client("client of B", "b", b),
      await client("stranger", "nobody", await issueCa("nobody", lasting())),
      await client("expired client of A", "nobody", a, { notBefore: DAYS(-20), notAfter: DAYS(-10) }),
      { name: "client without certificate", authority: "nobody" },
    ],
  };
}

/** A new certificate of any kind, with or without an intermediate. */
export function issueLeaf(
  { root, intermediate }: Authorities,
  random: Random,
  validity: { readonly notBefore?: Date; readonly notAfter?: Date } = {},
): Promise<Issued> {
  return issueServer("soak", {
    issuer: random.pick([root, intermediate]),
    algorithm: random.pick(["P-256", "P-256", "P-256", "P-256", "P-384", "Ed25519", "RSA"] as const),
    notBefore: DAYS(-1),
    notAfter: DAYS(1),
    ...validity,
  });
}
