import { assertEquals, assertMatch } from "@std/assert";
import { once } from "node:events";
import { Agent, createServer, get } from "node:https";
import test from "node:test";
import { connect, type ConnectionOptions } from "node:tls";
import { loadRoots } from "../../src/roots/load.ts";
import type { RootCertStore } from "../../src/roots/store.ts";
import { issueCa, issueServer } from "../support/certificates.ts";
import { withFiles } from "../support/files.ts";
import { portOf } from "../support/peers.ts";
import { systemOf } from "../support/root_system.ts";

const [ca, stranger] = await Promise.all([issueCa("the server's"), issueCa("another")]);
const issued = await issueServer("server", { issuer: ca });

/** Runs a test with an HTTPS server whose authority is in the first store and not in the second. */
function withServer(body: (port: number, store: RootCertStore, other: RootCertStore) => Promise<void>): Promise<void> {
  return withFiles(async ({ write }) => {
    const load = async (name: string, pem: string) => loadRoots(systemOf({ SSL_CERT_FILE: await write(name, pem) }));
    const stores = [await load("roots.pem", stranger.cert + ca.cert), await load("other.pem", stranger.cert)] as const;
    const server = createServer({ cert: issued.cert, key: issued.key }, (_request, response) => response.end("served"));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    try {
      await body(portOf(server), ...stores);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });
}

/** The outcome of a connection: the verified certificate, or the code of the error. */
function handshake(port: number, options: ConnectionOptions): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", ...options });
    socket.once("secureConnect", () => {
      resolve(socket.authorized ? socket.getPeerCertificate().fingerprint256 : "unauthorized");
      socket.destroy();
    });
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code));
  });
}

test("RootCertStore.secureContext() makes tls.connect() trust only the roots of the store", () =>
  withServer(async (port, store, other) => {
    assertEquals(await handshake(port, { secureContext: store.secureContext() }), issued.fingerprint256);
    assertEquals(await handshake(port, { secureContext: store.secureContext() }), issued.fingerprint256);
    assertEquals(await handshake(port, { secureContext: other.secureContext() }), "UNABLE_TO_VERIFY_LEAF_SIGNATURE");
    assertEquals(await handshake(port, {}), "UNABLE_TO_VERIFY_LEAF_SIGNATURE");
  }));

test("RootCertStore.pem and bundle serve as `ca`", () =>
  withServer(async (port, store, other) => {
    assertEquals(await handshake(port, { ca: store.pem }), issued.fingerprint256);
    assertEquals(await handshake(port, { ca: store.bundle }), issued.fingerprint256);
    assertEquals(await handshake(port, { ca: other.pem }), "UNABLE_TO_VERIFY_LEAF_SIGNATURE");
  }));

test("RootCertStore.with() makes clients trust a server of a company's authority", () =>
  withServer(async (port, _store, other) => {
    const secureContext = other.with(ca.cert).secureContext();
    assertEquals(await handshake(port, { secureContext }), issued.fingerprint256);
  }));

test("RootCertStore.secureContext() serves an https.Agent", () =>
  withServer(async (port, store, other) => {
    const status = (roots: RootCertStore) =>
      new Promise((resolve) => {
        const agent = new Agent({ secureContext: roots.secureContext() });
        const done = (outcome: unknown) => {
          agent.destroy();
          resolve(outcome);
        };
        get({ port, host: "127.0.0.1", agent }, (response) => {
          response.resume().once("end", () => done(response.statusCode));
        }).once("error", (error: NodeJS.ErrnoException) => done(error.code));
      });
    assertEquals([await status(store), await status(other)], [200, "UNABLE_TO_VERIFY_LEAF_SIGNATURE"]);
  }));

/** The runtime's own client with roots of its own. */
interface NativeFetch {
  readonly Bun?: unknown;
  readonly Deno?: { createHttpClient(options: { caCerts: string[] }): Disposable };
}
const { Bun, Deno } = globalThis as NativeFetch;
const NO_OPTION = !Bun && !Deno && "fetch of Node takes roots from undici only";

test(
  "RootCertStore.pem serves the runtime's own fetch",
  { skip: NO_OPTION },
  () =>
    withServer(async (port, store, other) => {
      const fetched = async (roots: RootCertStore) => {
        const client = Deno?.createHttpClient({ caCerts: roots.pem });
        try {
          const init = { client, tls: { ca: roots.pem } };
          return await (await fetch(`https://127.0.0.1:${port}`, init as RequestInit)).text();
        } catch (error) {
          return `${error} ${(error as Error).cause ?? ""}`;
        } finally {
          client?.[Symbol.dispose]();
        }
      };
      assertEquals(await fetched(store), "served");
      assertMatch(await fetched(other), /certificate/);
    }),
);
