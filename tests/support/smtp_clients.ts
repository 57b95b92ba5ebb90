import { assertMatch } from "@std/assert";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { HttpConnection } from "./http.ts";
import { dialTcp } from "./peers.ts";
import type { WireClient, WireConnection } from "./wire_client.ts";

/** Connects by implicit TLS (RFC 8314). */
export const connectSmtps: WireClient = async ({ port, onHandshake }) => {
  onHandshake();
  const connection = await HttpConnection.open(port);
  assertMatch(await reply(connection), /^220 /);
  return await introduce(connection);
};

/** Connects by STARTTLS (RFC 3207). */
export const connectStarttls: WireClient = async ({ port, onHandshake }) => {
  const socket = await dialTcp(port);
  assertMatch(String((await once(socket, "data"))[0]), /^220 /);
  socket.write("EHLO localhost\r\n");
  assertMatch(String((await once(socket, "data"))[0]), /^250[ -]STARTTLS\r\n/m);
  socket.write("STARTTLS\r\n");
  assertMatch(String((await once(socket, "data"))[0]), /^220 /);
  onHandshake();
  return await introduce(await HttpConnection.open(port, { socket }));
};

async function introduce(connection: HttpConnection): Promise<WireConnection> {
  const say = async (text: string, expected: RegExp) => {
    connection.socket.write(`${text}\r\n`);
    assertMatch(await reply(connection), expected);
  };
  await say("EHLO localhost", /^250-/);
  return {
    fingerprint256: connection.fingerprint256,
    async exchange() {
      await say("MAIL FROM:<a@example.com>", /^250 /);
      await say("RCPT TO:<b@example.com>", /^250 /);
      await say("DATA", /^354 /);
      await say("hello\r\n.", /^250 /);
    },
    close: () => connection.close(),
  };
}

/** Reads a reply (RFC 5321 section 4.2.1). */
async function reply(connection: HttpConnection): Promise<string> {
  let text = "";
  while (!/^\d{3} .*\r\n$/m.test(text)) text += Buffer.from(await connection.read(1)).toString();
  return text;
}
