import { assertEquals } from "@std/assert";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type ServerOpts, type Socket } from "node:net";

/** A connection without TLS. */
export interface Client {
  readonly socket: Socket;
  /** Resolves when nothing more comes. */
  readonly ended: Promise<unknown>;
  /** Asserts what comes next. */
  hears(expected: string): Promise<void>;
  /** Closes the connection. */
  close(): Promise<void>;
}

export async function connected(port: number): Promise<Client> {
  const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
  let text = "";
  socket.on("error", () => {}).on("data", (chunk) => text += chunk);
  const ended = new Promise((resolve) => socket.once("end", resolve).once("close", resolve));
  await once(socket, "connect");
  return {
    socket,
    ended,
    async hears(expected) {
      while (text.length < expected.length) await once(socket, "data");
      assertEquals(text.slice(0, expected.length), expected);
      text = text.slice(expected.length);
    },
    async close() {
      socket.destroy();
      if (!socket.closed) await once(socket, "close");
    },
  };
}

/**
 * Makes a connected pair of TCP sockets.
 *
 * @param options The options of the server that accepts.
 * @returns Both ends of the connection.
 */
export async function tcpPair(options: ServerOpts = {}): Promise<[accepted: Socket, client: Socket]> {
  const server = createServer(options).listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  client.on("error", () => {});
  const [accepted] = await once(server, "connection");
  server.close();
  return [accepted, client];
}

/** Resolves when a condition holds that events of other sockets bring about. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}
