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

/** Begins a session of Socket.IO by long polling, again and again over one connection. */
export const socketIoPolling: WireClient = async ({ port, onHandshake }) => {
  onHandshake();
  const connection = await HttpConnection.open(port);
  return clientOf(connection, async () => {
    const { status, text } = await connection.ask("/socket.io/?EIO=4&transport=polling");
    assertEquals(status, 200);
    assertMatch(text, /^0\{"sid":.*"upgrades":\["websocket"\]/);
  });
};

function clientOf(connection: HttpConnection, exchange: () => Promise<void>): WireConnection {
  return { fingerprint256: connection.fingerprint256, exchange, close: () => connection.close() };
}
