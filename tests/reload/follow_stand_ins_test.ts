import { assertEquals, assertMatch } from "@std/assert";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import test from "node:test";
import { etcdSource } from "../../examples/follow_etcd.ts";
import { kubernetesSource } from "../../examples/follow_kubernetes.ts";
import { vaultSource } from "../../examples/follow_vault.ts";
import { TlsState } from "../../mod.ts";
import { type FollowOptions, Reloader, type Subscribe } from "../../src/reload.ts";
import { issueCa, type Issued, issueServer } from "../support/certificates.ts";
import { type TestFiles, withFiles } from "../support/files.ts";
import { collectGarbage } from "../support/garbage.ts";
import { configOf, echoServer, visit } from "../support/peers.ts";
import { nextEvent } from "./rotating_files.ts";

const [first, second, third] = [
  await issueServer("first"),
  await issueServer("second"),
  await issueServer("third"),
];
const SECOND_MS = 1_000;

/** A server with a reloader that follows a source, and what clients of it see. */
async function following<Item>(subscribe: Subscribe<Item>, options: FollowOptions<Item>) {
  const state = new TlsState(configOf(first));
  const reloader = new Reloader(state, () => Promise.resolve(state.current()));
  const server = await echoServer(state);
  const swapped = nextEvent(reloader, "swap");
  reloader.follow(subscribe, options);
  return {
    reloader,
    swapped,
    served: async () => (await visit(server.port)).fingerprint256,
    async close() {
      await reloader.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

/**
 * Stands in for the API server of Kubernetes, by its published protocol: a watch answers with one JSON event a line, the
 * object as it is first, and errors come as a `Status` (Kubernetes API Concepts, "Efficient detection of changes").
 */
class KubernetesStandIn {
  readonly requests: IncomingMessage[] = [];
  readonly #watches = new Set<ServerResponse>();
  readonly #server;
  #secret: Issued;
  status = 200;

  constructor({ cert, key }: Issued, secret: Issued) {
    this.#secret = secret;
    this.#server = createServer({ cert, key }, (request, response) => {
      this.requests.push(request);
      response.writeHead(this.status, { "content-type": "application/json" });
      if (this.status !== 200) {
        response.end();
        return;
      }
      this.#watches.add(response.on("close", () => this.#watches.delete(response)));
      this.#send(response, "ADDED");
    });
  }

  async listen(): Promise<string> {
    this.#server.listen(0, "localhost");
    await once(this.#server, "listening");
    return `https://localhost:${(this.#server.address() as AddressInfo).port}`;
  }

  update(secret: Issued): void {
    this.#secret = secret;
    for (const watch of this.#watches) this.#send(watch, "MODIFIED");
  }

  /** Sends an event that holds no secret. */
  send(event: object): void {
    for (const watch of this.#watches) watch.write(`${JSON.stringify(event)}\n`);
  }

  endWatches(): void {
    for (const watch of this.#watches) watch.end();
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #send(watch: ServerResponse, type: string): void {
    const base64 = (text: string) => Buffer.from(text).toString("base64");
    const data = { "tls.crt": base64(this.#secret.cert), "tls.key": base64(this.#secret.key) };
    const line = JSON.stringify({ type, object: { kind: "Secret", apiVersion: "v1", data } });
    // In two pieces, as a network may deliver it.
    watch.write(line.slice(0, 1_000));
    watch.write(`${line.slice(1_000)}\n`);
  }
}

async function serviceAccount(files: TestFiles, authority: Issued): Promise<string> {
  await files.write("ca.crt", authority.cert);
  await files.write("token", "the-token");
  await files.write("namespace", "shop");
  return files.path(".");
}

test("follow_kubernetes.ts serves what a secret holds, through ends and errors of its watch", () =>
  withFiles(async (files) => {
    const authority = await issueCa("cluster");
    const api = new KubernetesStandIn(await issueServer("api", { issuer: authority }), second);
    const source = kubernetesSource("www", await api.listen(), await serviceAccount(files, authority));
    const server = await following(source.secrets, { toConfig: source.toConfig });
    const { reloader } = server;
    await server.swapped;
    assertEquals(await server.served(), second.fingerprint256);
    const { url, headers } = api.requests[0]!;
    assertMatch(url!, /^\/api\/v1\/namespaces\/shop\/secrets\?watch=1&fieldSelector=metadata\.name%3Dwww&/);
    assertEquals(headers.authorization, "Bearer the-token");

    const renewed = nextEvent(reloader, "swap");
    api.update(third);
    await renewed;
    assertEquals(await server.served(), third.fingerprint256);

    const missed = nextEvent(reloader, "swap");
    const ended = nextEvent(reloader, "disconnect");
    api.endWatches();
    assertEquals((await ended).detail.error, undefined);
    api.update(second);
    await missed;
    assertEquals(await server.served(), second.fingerprint256);

    const failed = nextEvent(reloader, "disconnect");
    api.status = 403;
    api.send({ type: "DELETED", object: {} });
    api.send({ type: "ERROR", object: { kind: "Status", code: 410, message: "too old resource version" } });
    assertMatch(String((await failed).detail.error), /Kubernetes ends the watch: too old resource version/);
    assertMatch(String((await nextEvent(reloader, "disconnect")).detail.error), /Kubernetes answers 403/);
    assertEquals(await server.served(), second.fingerprint256);
    await server.close();
    api.close();
  }));

/** Stands in for Vault, by the published answer of its PKI engine to `POST /v1/MOUNT/issue/ROLE`. */
test("follow_vault.ts serves a new certificate before the last one expires, and when Vault is back", async () => {
  const bodies: unknown[] = [];
  let status = 200;
  const issuer = await issueCa("issuer");
  const issued: Issued[] = [];
  const vault = createHttpServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    bodies.push([request.method, request.url, request.headers["x-vault-token"], JSON.parse(body)]);
    const notAfter = new Date(Math.ceil(Date.now() / SECOND_MS) * SECOND_MS + 2 * SECOND_MS);
    const next = await issueServer(`vault-${issued.length}`, { issuer, notAfter });
    if (status === 200) issued.push(next);
    const [certificate = "", ...ca_chain] = next.cert.match(/-----BEGIN[^]*?-----END CERTIFICATE-----/g) ?? [];
    const data = { certificate, ca_chain, private_key: next.key, expiration: notAfter.getTime() / SECOND_MS };
    response.writeHead(status).end(JSON.stringify({ request_id: "1", lease_id: "", data }));
  }).listen(0, "127.0.0.1");
  await once(vault, "listening");
  const source = vaultSource({
    address: `http://127.0.0.1:${(vault.address() as AddressInfo).port}`,
    path: "pki/issue/www",
    commonName: "localhost",
    token: () => Promise.resolve("the-token"),
  });
  const server = await following(source.certificates, { toConfig: source.toConfig });
  server.reloader.addEventListener("expiring", (event) => event.preventDefault());
  await server.swapped;
  assertEquals(await server.served(), issued[0]!.fingerprint256);
  const expected = { common_name: "localhost", private_key_format: "pkcs8" };
  assertEquals(bodies[0], ["POST", "/v1/pki/issue/www", "the-token", expected]);

  await nextEvent(server.reloader, "swap");
  assertEquals(await server.served(), issued[1]!.fingerprint256);

  status = 503;
  assertMatch(String((await nextEvent(server.reloader, "disconnect")).detail.error), /Vault answers 503/);
  status = 200;
  await nextEvent(server.reloader, "swap");
  assertEquals(await server.served(), issued.at(-1)!.fingerprint256);
  await server.close();
  vault.closeAllConnections();
  vault.close();
});

/** Stands in for etcd, whose watch answers with one line and then waits for changes. */
test("follow_etcd.ts disconnects from etcd when the reloader is closed, also after a garbage collection", async () => {
  const watched = Promise.withResolvers<ServerResponse>();
  const etcd = createHttpServer((_, response) => {
    response.write('{"result":{"created":true}}\n');
    watched.resolve(response);
  }).listen(0, "127.0.0.1");
  await once(etcd, "listening");
  const { changes } = etcdSource(`http://127.0.0.1:${(etcd.address() as AddressInfo).port}`, "www");
  const subscription = new AbortController();
  const items = changes(subscription.signal);
  await items.next();
  const next = items.next().catch(({ name }: Error) => name);
  const disconnected = once(await watched.promise, "close");
  await collectGarbage();

  subscription.abort();
  assertEquals(await next, "AbortError");
  await disconnected;
  etcd.close();
});
