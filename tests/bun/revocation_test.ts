import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import process from "node:process";
import test from "node:test";
import { type TlsConfigInit, TlsReloadError, TlsState } from "../../mod.ts";
import { serve, tlsOptions } from "../../src/bun.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { makeCrl } from "../support/crls.ts";
import { configOf, OpensslClient } from "../support/peers.ts";

const isBun = process.versions["bun"] !== undefined;
const server = await issueServer("server");
const [authority, other] = [await issueCa("authority"), await issueCa("other")];
const client = await issueClient("client", { issuer: authority });
const withAuth = (options: Partial<NonNullable<TlsConfigInit["clientAuth"]>>) =>
  configOf(server, { clientAuth: { mode: "required", ca: authority.cert + other.cert, ...options } });
const lists = [makeCrl(authority), makeCrl(other)];
const revoking = [makeCrl(authority, { revoked: [client] }), makeCrl(other)];

test("tlsOptions() refuses revocation that Bun.serve would do otherwise", () => {
  for (const options of [{ requireCrl: true }, { crl: lists[0]! }, { crl: lists, staleCrl: "accept" as const }]) {
    const error = assertThrows(() => tlsOptions(withAuth(options)), TlsReloadError);
    assertEquals(error.code, "UNSUPPORTED");
    assertMatch(error.message, /revocation list/);
  }
});

for (const mechanism of ["handoff", "front"] as const) {
  const skip = !isBun ? "needs Bun" : mechanism === "handoff" && process.platform !== "linux" && "needs Linux";
  test(
    `serve() of ./bun refuses a client that a swap revokes, fresh and resumed (${mechanism})`,
    { skip },
    async () => {
      const state = new TlsState(withAuth({ crl: lists }));
      const native = await serve(state, {
        hostname: "127.0.0.1",
        port: 0,
        mechanism,
        fetch: () => new Response("generation 0\n"),
      });
      for (const version of ["-tls1_2", "-tls1_3"]) {
        state.swap(withAuth({ crl: lists }));
        const openssl = await OpensslClient.create(client);
        const run = async (resume: boolean) => (await openssl.run(native.port, { resume, args: [version] })).greeted;
        assertEquals([await run(false), await run(true)], [true, true]);
        state.swap(withAuth({ crl: revoking }));
        assertEquals([await run(true), await run(false)], [false, false]);
        await openssl[Symbol.asyncDispose]();
      }
      const previous = state.current();
      assertEquals(assertThrows(() => state.swap(withAuth({ crl: lists[0]! })), TlsReloadError).code, "UNSUPPORTED");
      const expectUnused = { withinMs: 1 };
      const next = configOf(server, { clientAuth: { mode: "required", ca: authority.cert, crl: lists[0]! } });
      assertEquals(assertThrows(() => state.swap(next, { expectUnused }), TlsReloadError).code, "UNSUPPORTED");
      assertEquals(state.current(), previous);
      await native.stop(true);
    },
  );
}
