import { createHash, randomBytes } from "node:crypto";
import type { TcpNetConnectOpts } from "node:net";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";

/** An answer as it came. */
export interface Answer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly text: string;
}

/** One connection of an HTTP/1.1 client that knows its connection: which certificate it was served, whether it lives. */
export class HttpConnection {
  readonly socket: TLSSocket;
  /** SHA-256 of the certificate that was served. */
  readonly fingerprint256: string;
  #bytes = new Uint8Array(0);
  #isEnded = false;
  /** Ends the wait of a reader. */
  #wake = () => {};

  private constructor(socket: TLSSocket) {
    this.socket = socket;
    this.fingerprint256 = socket.getPeerCertificate().fingerprint256;
    const end = () => {
      this.#isEnded = true;
      this.#wake();
    };
    socket.on("end", end).on("close", end);
    socket.on("data", (chunk) => {
      const bytes = new Uint8Array(this.#bytes.length + chunk.length);
      bytes.set(this.#bytes);
      bytes.set(chunk, this.#bytes.length);
      this.#bytes = bytes;
      this.#wake();
    });
  }

  static async open(
    port: number,
    options: ConnectionOptions & Partial<TcpNetConnectOpts> = {},
  ): Promise<HttpConnection> {
    const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ...options });
    socket.on("error", () => {});
    await new Promise<void>((resolve, reject) => {
      const fail = () => reject(new Error("no handshake", { cause: socket.errored }));
      socket.once("secureConnect", resolve).once("close", fail);
    });
    return new HttpConnection(socket);
  }

  /** Sends a request without body and reads its answer. */
  ask(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    this.send(path, headers);
    return this.answer();
  }

  send(path: string, headers: Readonly<Record<string, string>> = {}): void {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const host = `localhost:${this.socket.remotePort}`;
    this.socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${lines.join("")}\r\n`);
  }

  /** Reads an answer. */
  async answer(): Promise<Answer> {
    const { status, headers } = await this.head();
    const parts: Uint8Array<ArrayBuffer>[] = [];
    for await (const bytes of this.body(headers)) parts.push(bytes);
    const body = new Uint8Array(await new Blob(parts).arrayBuffer());
    return { status, headers, body, text: new TextDecoder().decode(body) };
  }

  /** Reads an answer up to its body. */
  async head(): Promise<Pick<Answer, "status" | "headers">> {
    let end;
    while ((end = indexOfBlankLine(this.#bytes)) < 0) await this.#more();
    const [first = "", ...lines] = new TextDecoder().decode(this.#take(end + 4)).trimEnd().split("\r\n");
    const headers = new Map(lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }));
    return { status: Number(first.split(" ")[1]), headers };
  }

  /** Reads so many bytes. */
  async read(length: number): Promise<Uint8Array<ArrayBuffer>> {
    while (this.#bytes.length < length) await this.#more();
    return this.#take(length);
  }

  /** Reads a body as it comes: of a stated length, or in chunks (RFC 9112 section 7.1). */
  async *body(headers: ReadonlyMap<string, string>): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const isChunked = headers.get("transfer-encoding") === "chunked";
    let left = isChunked ? await this.#chunkLength() : Number(headers.get("content-length") ?? 0);
    while (left > 0) {
      while (this.#bytes.length === 0) await this.#more();
      const bytes = this.#take(Math.min(left, this.#bytes.length));
      left -= bytes.length;
      yield bytes;
      if (left > 0 || !isChunked) continue;
      await this.read(2);
      left = await this.#chunkLength();
    }
    if (isChunked) await this.read(2);
  }

  /** Makes a WebSocket of the connection (RFC 6455 section 4). */
  async upgrade(path: string): Promise<void> {
    const key = randomBytes(16).toString("base64");
    const { status, headers } = await this.ask(path, {
      "Upgrade": "websocket",
      "Connection": "Upgrade",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": key,
    });
    const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    if (status !== 101 || headers.get("sec-websocket-accept") !== accept) throw new Error(`no WebSocket: ${status}`);
  }

  /** Sends a short text message, masked with zeros (RFC 6455 section 5.2). */
  sendText(text: string): void {
    const payload = new TextEncoder().encode(text);
    this.socket.write(Uint8Array.of(0x81, 0x80 | payload.length, 0, 0, 0, 0, ...payload));
  }

  /** Receives a short text message. */
  async receiveText(): Promise<string> {
    const [first, length] = await this.read(2);
    if (first !== 0x81) throw new Error(`no text message: ${first}`);
    return new TextDecoder().decode(await this.read(length!));
  }

  close(): void {
    this.socket.destroy();
  }

  async #chunkLength(): Promise<number> {
    let line = "";
    while (!line.endsWith("\r\n")) line += String.fromCharCode((await this.read(1))[0]!);
    return Number.parseInt(line, 16);
  }

  #take(length: number): Uint8Array<ArrayBuffer> {
    const taken = this.#bytes.slice(0, length);
    this.#bytes = this.#bytes.slice(length);
    return taken;
  }

  async #more(): Promise<void> {
    if (this.#isEnded) throw new Error("the connection was cut", { cause: this.socket.errored });
    await new Promise<void>((resolve) => this.#wake = resolve);
  }
}

function indexOfBlankLine(bytes: Uint8Array): number {
  return bytes.findIndex((byte, at) =>
    byte === 13 && bytes[at + 1] === 10 && bytes[at + 2] === 13 && bytes[at + 3] === 10
  );
}
