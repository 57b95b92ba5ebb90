import { assertEquals, assertMatch } from "@std/assert";
import { HttpConnection } from "./http.ts";
import type { WireClient, WireConnection } from "./wire_client.ts";

/** Asks for `/` again and again, over one connection. */
export const requests: WireClient = async ({ port, onHandshake }) => {
  onHandshake();
  const connection = await HttpConnection.open(port);
  return clientOf(connection, async () => {
    const { status, text } = await connection.ask("/");
    assertEquals([status, text], [200, "hello\n"]);
  });
};

/** Makes a WebSocket at a path, whose messages are echoed. */
export const webSockets = (path: string): WireClient => async ({ port, onHandshake }) => {
  onHandshake();
  const connection = await HttpConnection.open(port);
  await connection.upgrade(path);
  return clientOf(connection, async () => {
    connection.sendText("hello");
    assertEquals(await connection.receiveText(), "hello");
  });
};

/** Speaks Socket.IO in a WebSocket (Engine.IO protocol 4, Socket.IO protocol 5). */
export const socketIo: WireClient = async ({ port, onHandshake }) => {
  onHandshake();
  const connection = await HttpConnection.open(port);
  await connection.upgrade("/socket.io/?EIO=4&transport=websocket");
  assertMatch(await connection.receiveText(), /^0\{"sid":/);
  connection.sendText("40");
  assertMatch(await connection.receiveText(), /^40\{"sid":/);
  return clientOf(connection, async () => {
    connection.sendText('42["echo","hello"]');
    assertEquals(await connection.receiveText(), '42["echo","hello"]');
  });
};

/** Speaks Socket.IO by long polling, in one session over one connection. */
export const socketIoPolling: WireClient = async ({ port, onHandshake }) => {
  onHandshake();
  const connection = await HttpConnection.open(port);
  const path = "/socket.io/?EIO=4&transport=polling";
  const [, sid] = /^0\{"sid":"([^"]+)"/.exec((await connection.ask(path)).text) ?? [];
  const session = `${path}&sid=${sid}`;
  const ask = async (message: string) => {
    const length = `Content-Length: ${message.length}`;
    connection.socket.write(`POST ${session} HTTP/1.1\r\nHost: localhost\r\n${length}\r\n\r\n${message}`);
    assertEquals((await connection.answer()).text, "ok");
    return (await connection.ask(session)).text;
  };
  assertMatch(await ask("40"), /^40\{"sid":/);
  return clientOf(connection, async () => assertEquals(await ask('42["echo","hello"]'), '42["echo","hello"]'));
};

function clientOf(connection: HttpConnection, exchange: () => Promise<void>): WireConnection {
  return { fingerprint256: connection.fingerprint256, exchange, close: () => connection.close() };
}
