import { issueCa, issueClient, type Issued, issueServer } from "../support/certificates.ts";
import { makeCrl } from "../support/crls.ts";
import type { Random } from "./random.ts";

const DAY_MS = 86_400_000;
/** Longer than the server's clock ever steps. */
export const DAYS = (days: number): Date => new Date(Date.now() + days * DAY_MS);
const lasting = () => ({ notBefore: DAYS(-30), notAfter: DAYS(30) });

/** A client, with or without a certificate. */
export interface Identity {
  readonly name: string;
  /** The authority that must be trusted for the client to get in. */
  readonly authority?: string;
  /** Whether its authority revokes it now and then. */
  readonly isRevocable?: boolean;
  readonly cert?: string;
  readonly key?: string;
}

/** An authority of clients, and its revocation lists in PEM. */
export interface ClientCa {
  readonly cert: string;
  /** The lists that revoke no client. */
  readonly clean: string;
  /** The lists that revoke the clients that are revocable. */
  readonly revoking: string;
}

/** The authorities of the servers and the clients of a soak. */
export interface Authorities {
  readonly root: Issued;
  readonly intermediate: Issued;
  readonly clientCas: Readonly<Record<string, ClientCa>>;
  /** The certificate of an authority of clients that is not trusted by itself. */
  readonly clientIntermediate: string;
  readonly identities: readonly Identity[];
}

/** Issues what lasts for the whole soak. */
export async function issueAuthorities(): Promise<Authorities> {
  const root = await issueCa("soak root", lasting());
  const intermediate = await issueCa("soak intermediate", { issuer: root, ...lasting() });
  const [a, b] = [await issueCa("clients A", lasting()), await issueCa("clients B", lasting())];
  const below = await issueCa("clients A below", { issuer: a, ...lasting() });
  const client = (issuer: Issued, validity = lasting()) => issueClient("client", { issuer, ...validity });
  const [revocableA, revocableB] = [await client(a), await client(b)];
  const crl = (authority: Issued, ...revoked: Issued[]) =>
    makeCrl(authority, { revoked, thisUpdate: DAYS(-30), nextUpdate: DAYS(30) }).toString();
  const belowCrl = crl(below);
  const expired = { notBefore: DAYS(-20), notAfter: DAYS(-10) };
  return {
    root,
    intermediate,
    clientCas: {
      a: { cert: a.cert, clean: crl(a) + belowCrl, revoking: crl(a, revocableA) + belowCrl },
      b: { cert: b.cert, clean: crl(b), revoking: crl(b, revocableB) },
    },
    clientIntermediate: below.cert,
    identities: [
      { name: "client of A", authority: "a", ...await client(a) },
      { name: "client of A by an intermediate", authority: "a", ...await client(below) },
      { name: "revocable client of A", authority: "a", isRevocable: true, ...revocableA },
      { name: "client of B", authority: "b", ...await client(b) },
      { name: "revocable client of B", authority: "b", isRevocable: true, ...revocableB },
      { name: "stranger", ...await client(await issueCa("nobody", lasting())) },
      { name: "expired client of A", ...await client(a, expired) },
      { name: "client without certificate" },
    ],
  };
}

/** A new server certificate of any kind, with or without an intermediate. */
export function issueLeaf(
  { root, intermediate }: Authorities,
  random: Random,
  name: string,
  validity: { readonly notBefore?: Date; readonly notAfter?: Date } = {},
): Promise<Issued> {
  return issueServer("soak", {
    names: [{ type: "dns", value: name }],
    issuer: random.pick([root, intermediate]),
    algorithm: random.pick(["P-256", "P-256", "P-256", "P-256", "P-384", "Ed25519", "RSA"] as const),
    notBefore: DAYS(-1),
    notAfter: DAYS(1),
    ...validity,
  });
}
