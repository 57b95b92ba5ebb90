import { assertEquals } from "@std/assert";
import test from "node:test";
import { TlsConfig, TlsReloadError, TlsState } from "../../mod.ts";
import { findPath } from "../../src/x509/certification_path.ts";
import { TrustAnchors } from "../../src/x509/trust_anchors.ts";
import { issueServer } from "./certificates.ts";
import { ChainClient, type Visit } from "./chain_client.ts";
import { HIDES_CHAIN } from "./client_auth_contract.ts";
import { ADMITTED_CLIENTS, ca, type Chain, REFUSED_CLIENTS } from "./client_kinds.ts";
import type { Made } from "./made_certificates.ts";

/** A server that greets each client that gets in with `generation N`. */
export interface MatrixServer extends AsyncDisposable {
  readonly port: number;
  /** The codes of the errors about clients that did not get in, if the server reports them. */
  readonly refusals?: readonly string[];
}

/** One column of the matrix. */
export interface Column {
  readonly skip?: string | false;
  /** Whether the runtime alone judges clients, because the server does not show their certificates. */
  readonly hidesClients?: boolean;
  /** Whether every kind is tried resumed and over TLS 1.2 as well, not only the representative ones. */
  readonly isWhole?: boolean;
}

/** Whether a client enters fresh and resumed before a swap, and resumed and fresh after it. */
type Row = readonly [fresh: boolean, resumed: boolean, resumedAfter: boolean, freshAfter: boolean];

/**
 * Where the runtime shows no intermediate certificates, its own verdict stands for the path, and OpenSSL lets these in.
 * See {@linkcode ClientVerification}.
 */
const LET_IN_UNSEEN = ["a path of more than ten certificates", "an intermediate on P-224"];

/** What Bun lets in where it judges alone, as `docs/client-certificates.md` lists it. */
const LET_IN_BY_BUN = [
  ...LET_IN_UNSEEN,
  "a client signed with SHA-1",
  "an intermediate signed with SHA-1",
  "a client of which Netscape says that it is a server",
  "IP address blocks",
  "CRL distribution points without a name",
  "a client without a name",
  "an authority without a name",
  "an authority without basicConstraints",
  "an authority of version 1",
  "an authority with RSA of 1024 bits",
];

/** A certificate of a thousand names does not fit into a ticket. */
const WITHOUT_TICKET = "name constraints without number";

/** One for each part of the verification, beside those that are let in. */
const REPRESENTATIVE = [
  ...LET_IN_UNSEEN,
  "a client of another authority",
  "an expired intermediate",
  "a forged client",
  "an intermediate signed with SHA-1",
  "an authority that says that it is not",
  "an authority for servers",
  "an unknown critical extension in an intermediate",
  "a name that is excluded",
];

const server = await issueServer("server");
const other = ca({ subject: "other" });
/** Made once for all servers of a file. */
const chains = new Map<string, Chain>();

/**
 * What must be the answer to each kind of client, whatever it connects to, over TLS 1.2 and 1.3, fresh and resumed,
 * before and after a swap. All kinds meet one server, whose state is swapped.
 */
export function testClientKinds(
  name: string,
  serve: (state: TlsState) => Promise<MatrixServer>,
  { skip = false, hidesClients = false, isWhole = false }: Column = {},
): void {
  const letsIn = hidesClients ? LET_IN_BY_BUN : HIDES_CHAIN ? LET_IN_UNSEEN : [];
  test(`${name} gives every kind of client its answer, fresh and resumed, before and after a swap`, {
    skip,
  }, async () => {
    const state = new TlsState(configOf([other])!);
    const served = await serve(state);
    const client = await ChainClient.start();
    const wrong: string[] = [];

    /** Begins with one configuration and swaps to another; one that cannot be made lets no client in. */
    const tryRow = async (
      kind: string,
      before: readonly Made[],
      after: readonly Made[],
      expected: Row,
      version: Visit["version"],
    ) => {
      const enter = entryOf(client, served.port, kind, version);
      state.swap(configOf(before) ?? configOf([other])!);
      const { isGreeted: fresh, session } = await enter();
      const { isGreeted: resumed, isResumed } = fresh ? await enter(session) : { isGreeted: false, isResumed: false };
      if (isResumed !== (resumed && kind !== WITHOUT_TICKET)) wrong.push(`${kind} (${version}): not resumed`);
      state.swap(configOf(after) ?? configOf([other])!);
      const row: Row = [fresh, resumed, fresh && (await enter(session)).isGreeted, (await enter()).isGreeted];
      if (row.join() !== expected.join()) wrong.push(`${kind} (${version}): ${row}, not ${expected}`);
    };

    try {
      for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
        for (const kind of Object.keys(ADMITTED_CLIENTS)) {
          const [, , anchors] = chainOf(kind);
          await tryRow(kind, anchors, [other, ...anchors], [true, true, true, true], version);
          await tryRow(kind, anchors, [other], [true, true, false, false], version);
        }
        for (const kind of isWhole ? Object.keys(REFUSED_CLIENTS) : REPRESENTATIVE) {
          const [leaf, intermediates, anchors] = chainOf(kind);
          const before = [milderAuthority(leaf)];
          const isLetInHere = letsIn.includes(kind);
          const enters = isLetIn([leaf, intermediates, before]) || (hidesClients && isLetInHere);
          await tryRow(kind, before, anchors, [enters, enters, enters && isLetInHere, isLetInHere], version);
        }
      }
      for (const kind of Object.keys(REFUSED_CLIENTS)) {
        const [, , anchors] = chainOf(kind);
        state.swap(configOf(anchors) ?? configOf([other])!);
        const { isGreeted } = await entryOf(client, served.port, kind, "TLSv1.3")();
        if (isGreeted !== letsIn.includes(kind)) wrong.push(`${kind}: ${isGreeted}`);
      }
    } finally {
      await client[Symbol.asyncDispose]();
      await served[Symbol.asyncDispose]();
    }
    assertEquals(wrong, []);
    if (served.refusals && !hidesClients) assertEquals(new Set(served.refusals), new Set(["CLIENT_UNAUTHORIZED"]));
  });
}

/** Lets a kind of client connect to a port. */
function entryOf(client: ChainClient, port: number, kind: string, version: Visit["version"]) {
  const [leaf, intermediates] = chainOf(kind);
  const cert = [leaf, ...intermediates].map(({ pem }) => pem).join("");
  const key = leaf.key.privateKey.export({ type: "pkcs8", format: "pem" }) as string;
  return async (session?: string) => {
    const visited = await client.visit({ port, cert, key, version, session });
    if (visited.isStalled) throw new Error(`${kind} (${version}): the client is neither greeted nor refused`);
    return visited;
  };
}

function chainOf(kind: string): Chain {
  let chain = chains.get(kind);
  if (!chain) chains.set(kind, chain = (ADMITTED_CLIENTS[kind] ?? REFUSED_CLIENTS[kind])!.chain());
  return chain;
}

/** An authority with the name and key of the one that has issued a client, and nothing that speaks against it. */
function milderAuthority({ issuer }: Made): Made {
  return ca(issuer ? { subject: issuer.subject, key: issuer.key } : {});
}

/** `undefined` if the runtime cannot read an authority. */
function configOf(anchors: readonly Made[]): TlsConfig | undefined {
  try {
    const certificates = anchors.map(({ pem }) => pem).join("");
    return new TlsConfig({ cert: server.cert, key: server.key, clientAuth: { mode: "required", ca: certificates } });
  } catch (error) {
    if (error instanceof TlsReloadError) return undefined;
    throw error;
  }
}

function isLetIn([leaf, intermediates, anchors]: Chain): boolean {
  const parsed = (made: readonly Made[]) => made.map(({ parsed }) => parsed);
  try {
    const options = { at: Date.now(), purpose: "clientAuth" } as const;
    return findPath(leaf.parsed, parsed(intermediates), new TrustAnchors(parsed(anchors)), options).path !== undefined;
  } catch {
    return false;
  }
}
