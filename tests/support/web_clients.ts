import { assert, assertEquals } from "@std/assert";
import { Agent } from "node:https";
import type { PeerCertificate } from "node:tls";
import { io } from "socket.io-client";
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

/** Connects by the client of Socket.IO, whose messages are echoed, and never reconnects. */
export const socketIo = (transport: "polling" | "websocket"): WireClient => async ({ port, ca, onHandshake }) => {
  let fingerprint256 = "";
  const checkServerIdentity = (_name: string, certificate: PeerCertificate) => {
    fingerprint256 ||= certificate.fingerprint256; // polling may open further connections
    return undefined;
  };
  const agent = new Agent({ ca, checkServerIdentity, keepAlive: true });
  const options = { transports: [transport], reconnection: false, forceNew: true, ca, checkServerIdentity, agent };
  onHandshake();
  const socket = io(`https://127.0.0.1:${port}`, options as object);
  const happens = (event: string, failure: string) =>
    new Promise<unknown>((resolve, reject) => {
      socket.once(event, resolve).once(failure, (reason: unknown) => reject(new Error(`${failure}: ${reason}`)));
    });
  await happens("connect", "connect_error");
  return {
    fingerprint256,
    async exchange() {
      assert(socket.connected, "the client is disconnected");
      const echo = happens("echo", "disconnect");
      socket.emit("echo", "hello");
      assertEquals(await echo, "hello");
    },
    close() {
      socket.removeAllListeners().close();
      agent.destroy();
    },
  };
};

function clientOf(connection: HttpConnection, exchange: () => Promise<void>): WireConnection {
  return { fingerprint256: connection.fingerprint256, exchange, close: () => connection.close() };
}
