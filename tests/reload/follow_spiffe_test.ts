import { assertEquals, assertMatch } from "@std/assert";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { createServer, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import process from "node:process";
import test from "node:test";
import { spiffeSource } from "../../examples/follow_spiffe.ts";
import { TlsState } from "../../mod.ts";
import { Reloader } from "../../src/reload.ts";
import { issueCa, issueClient, type Issued, issueServer } from "../support/certificates.ts";
import { withFiles } from "../support/files.ts";
import { configOf, echoServer, visit } from "../support/peers.ts";
import { nextEvent } from "./rotating_files.ts";

const NO_UNIX_SOCKETS = process.platform === "win32" && "Windows has no unix sockets of this kind";

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >> 7)];
}

const field = (number: number, content: Uint8Array) =>
  Buffer.concat([Buffer.from([(number << 3) | 2, ...varint(content.length)]), content]);
const derOf = (pem: string) =>
  Buffer.concat((pem.match(/(?<=-----BEGIN [A-Z ]+-----)[^-]*/g) ?? []).map((text) => Buffer.from(text, "base64")));

/** `X509SVIDResponse` of the published workload.proto, in the length-prefixed frame of gRPC. */
function response({ cert, key }: Issued, authority: Issued): Buffer {
  const id = Buffer.from("spiffe://example.org/web");
  const svid = [id, derOf(cert), derOf(key), derOf(authority.cert)].map((content, index) => field(index + 1, content));
  const message = field(1, Buffer.concat(svid));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

test("follow_spiffe.ts serves certificate and authority of each message, and comes back after an error", {
  skip: NO_UNIX_SOCKETS,
}, () =>
  withFiles(async (files) => {
    const authorities = [await issueCa("domain"), await issueCa("next domain")] as const;
    const web = await Promise.all(authorities.map((issuer) => issueServer("web", { issuer })));
    const clients = await Promise.all(authorities.map((issuer) => issueClient("client", { issuer })));
    const streams: ServerHttp2Stream[] = [];
    const sessions: ServerHttp2Session[] = [];
    const agent = createServer().on("session", (session) => sessions.push(session));
    agent.on("stream", (stream, headers) => {
      assertEquals([headers[":path"], headers["workload.spiffe.io"]], ["/SpiffeWorkloadAPI/FetchX509SVID", "true"]);
      streams.push(stream);
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on(
        "wantTrailers",
        () => stream.sendTrailers({ "grpc-status": "7", "grpc-message": "no identity issued" }),
      );
      stream.write(response(web[0]!, authorities[0]));
    });
    const path = files.path("agent.sock");
    agent.listen(path);
    await once(agent, "listening");

    const state = new TlsState(configOf(web[0]!));
    const reloader = new Reloader(state, () => Promise.resolve(state.current()));
    const server = await echoServer(state);
    const source = spiffeSource(path);
    const first = nextEvent(reloader, "swap");
    reloader.follow(source.svids, { toConfig: source.toConfig });
    await first;
    const greetings = () =>
      Promise.all(clients.map(({ cert, key }) => visit(server.port, { cert, key }).then(({ greeting }) => !!greeting)));
    assertEquals(await greetings(), [true, false]);

    const renewed = nextEvent(reloader, "swap");
    streams[0]!.write(response(web[1]!, authorities[1]));
    await renewed;
    assertEquals(await greetings(), [false, true]);

    const denied = nextEvent(reloader, "disconnect");
    const regained = nextEvent(reloader, "swap");
    streams[0]!.end();
    assertMatch(String((await denied).detail.error), /SPIFFE answers 7: no identity issued/);
    await regained;
    assertEquals(await greetings(), [true, false]);

    await reloader.close();
    await server[Symbol.asyncDispose]();
    for (const session of sessions) session.destroy();
    await new Promise((resolve) => agent.close(resolve));
  }));
