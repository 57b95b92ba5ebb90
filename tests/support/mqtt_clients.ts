import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { randomBytes, randomUUID } from "node:crypto";
import { HttpConnection } from "./http.ts";
import type { WireClient, WireConnection } from "./wire_client.ts";

/** What carries packets of MQTT. */
interface Transport {
  write(bytes: Uint8Array): void;
  read(length: number): Promise<Uint8Array>;
}

/** Connects over TLS. */
export const connectMqtts: WireClient = async ({ port, onHandshake }) => {
  onHandshake();
  const connection = await HttpConnection.open(port);
  const transport: Transport = {
    write: (bytes) => void connection.socket.write(bytes),
    read: (length) => connection.read(length),
  };
  return await subscribe(connection, transport);
};

/** Connects over a WebSocket. */
export const connectMqttByWebSocket: WireClient = async ({ port, onHandshake }) => {
  onHandshake();
  const connection = await HttpConnection.open(port);
  await connection.upgrade("/");
  return await subscribe(connection, new BinaryMessages(connection));
};

/** Subscribes to a topic of its own (MQTT 3.1.1 section 3). No packet has more than 127 bytes. */
async function subscribe(connection: HttpConnection, transport: Transport): Promise<WireConnection> {
  const send = (type: number, ...parts: Uint8Array[]) => {
    const body = Buffer.concat(parts);
    transport.write(Buffer.concat([Buffer.of(type, body.length), body]));
  };
  const receive = async (type: number) => {
    const [received, length = 0] = await transport.read(2);
    assertEquals(received, type);
    return Buffer.from(await transport.read(length)).toString("hex");
  };
  const topic = text(randomUUID().slice(0, 8));
  send(0x10, text("MQTT"), Buffer.of(4, 2, 0, 60), topic);
  assertEquals(await receive(0x20), "0000");
  send(0x82, Buffer.of(0, 1), topic, Buffer.of(0));
  assertEquals(await receive(0x90), "000100");
  return {
    fingerprint256: connection.fingerprint256,
    async exchange() {
      const published = Buffer.concat([topic, randomBytes(16)]);
      send(0x30, published);
      assertEquals(await receive(0x30), published.toString("hex"));
    },
    close: () => connection.close(),
  };
}

/** A string of MQTT. */
function text(value: string): Buffer {
  return Buffer.concat([Buffer.of(0, value.length), Buffer.from(value)]);
}

/** The bytes in the binary messages of a WebSocket (RFC 6455 section 5.2). A packet may span messages. */
class BinaryMessages implements Transport {
  readonly #connection: HttpConnection;
  #bytes = Buffer.alloc(0);

  constructor(connection: HttpConnection) {
    this.#connection = connection;
  }

  /** Sends one message, masked with zeros. */
  write(bytes: Uint8Array): void {
    this.#connection.socket.write(Uint8Array.of(0x82, 0x80 | bytes.length, 0, 0, 0, 0, ...bytes));
  }

  async read(length: number): Promise<Uint8Array> {
    while (this.#bytes.length < length) {
      const [first, size = 0] = await this.#connection.read(2);
      assertEquals(first, 0x82);
      this.#bytes = Buffer.concat([this.#bytes, await this.#connection.read(size)]);
    }
    const taken = this.#bytes.subarray(0, length);
    this.#bytes = this.#bytes.subarray(length);
    return taken;
  }
}
