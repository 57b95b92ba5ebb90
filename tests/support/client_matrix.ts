import { assertEquals } from "@std/assert";
import test from "node:test";
import { TlsConfig, TlsReloadError, TlsState } from "../../mod.ts";
import { findPath } from "../../src/x509/certification_path.ts";
import { TrustAnchors } from "../../src/x509/trust_anchors.ts";
import { issueServer } from "./certificates.ts";
import { type GreetingServer, HIDES_CHAIN } from "./client_auth_contract.ts";
import { ADMITTED_CLIENTS, ca, type Chain, REFUSED_CLIENTS } from "./client_kinds.ts";
import type { Made } from "./made_certificates.ts";
import { OpensslClient } from "./peers.ts";

/** One row: whether the client enters fresh and resumed before a swap, and resumed and fresh after it. */
type Row = readonly [fresh: boolean, resumed: boolean, resumedAfter: boolean, freshAfter: boolean];

/**
 * Kinds that a runtime lets in which shows no intermediate certificates: its own verdict stands for the path there, and
 * OpenSSL lets them in. See {@linkcode ClientVerification}.
 */
const LET_IN_UNSEEN = ["a path of more than ten certificates", "an intermediate on P-224"];

const server = await issueServer("server");
const other = ca({ subject: "other" });

/**
 * What must be the answer to each kind of client, whatever it connects to, over TLS 1.2 and 1.3, fresh and resumed,
 * before and after a swap. The client is `openssl s_client`.
 */
export function testClientKinds(server: string, serve: (state: TlsState) => Promise<GreetingServer>): void {
  for (const [name, { chain }] of Object.entries(ADMITTED_CLIENTS)) {
    test(`${server} lets in ${name}, also resumed, until its authority is removed`, async () => {
      const [leaf, intermediates, anchors] = chain();
      await withMatrix(serve, leaf, intermediates, async (row) => {
        assertEquals(await row(anchors, [other, ...anchors]), [true, true, true, true]);
        assertEquals(await row(anchors, [other]), [true, true, false, false]);
      });
    });
  }
  for (const [name, { chain }] of Object.entries(REFUSED_CLIENTS)) {
    test(`${server} refuses ${name}, also resumed by who was let in before`, async () => {
      const [leaf, intermediates, anchors] = chain();
      const before = [milderAuthority(leaf)];
      const enters = isLetIn([leaf, intermediates, before]);
      // Sessions of Node end at a swap, so that a client that resumes makes a full handshake.
      const entersUnseen = HIDES_CHAIN !== false && LET_IN_UNSEEN.includes(name);
      await withMatrix(serve, leaf, intermediates, async (row) => {
        assertEquals(await row(before, anchors), [enters, enters, enters && entersUnseen, entersUnseen]);
      });
    });
  }
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

/** Begins with one configuration and swaps to another; one that cannot be made lets nobody in. */
type RunRow = (before: readonly Made[], after: readonly Made[]) => Promise<Row>;

/** Runs a test over each version of TLS, with one client, and one server whose state is swapped. */
async function withMatrix(
  serve: (state: TlsState) => Promise<GreetingServer>,
  leaf: Made,
  intermediates: readonly Made[],
  body: (row: RunRow) => Promise<void>,
): Promise<void> {
  const state = new TlsState(configOf([other])!);
  const cert = [leaf, ...intermediates].map(({ pem }) => pem).join("");
  const key = leaf.key.privateKey.export({ type: "pkcs8", format: "pem" }) as string;
  const greeting = await serve(state);
  const client = await OpensslClient.create({ cert, key });
  try {
    for (const version of ["-tls1_2", "-tls1_3"]) {
      // The client must send SHA-1 and short keys as well.
      const args = [version, "-alpn", "http/1.1", "-cipher", "DEFAULT@SECLEVEL=0"];
      const run = async (resume: boolean) => (await client.run(greeting.port, { resume, args })).greeted;
      await body(async (before, after) => {
        state.swap(configOf(before)!);
        const fresh = await run(false);
        const resumed = fresh && await run(true);
        state.swap(configOf(after) ?? configOf([other])!);
        return [fresh, resumed, fresh && await run(true), await run(false)];
      });
    }
  } finally {
    await client[Symbol.asyncDispose]();
    await greeting[Symbol.asyncDispose]();
  }
}
