// What clients do on one connection, over HTTP/1.1, WebSocket and HTTP/2, and how they check the answers.
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { setTimeout as delay } from "node:timers/promises";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { HttpConnection } from "../support/http.ts";
import { content, digest } from "./content.ts";
import type { Random } from "./random.ts";
import type { Protocol } from "./servers.ts";
import { Violation } from "./soak_run.ts";

const MAX_BULK_BYTES = 4 << 20;
const RESET_LOOK_MS = 1_000;

/** A connection that has been made, whatever is spoken on it. */
export interface Client {
  readonly socket: TLSSocket;
  echo(random: Random): Promise<void>;
  close(): void;
}

export class Http1Client implements Client {
  readonly connection: HttpConnection;

  constructor(connection: HttpConnection) {
    this.connection = connection;
  }

  static async open(options: ConnectionOptions & { port: number }): Promise<Http1Client> {
    return new Http1Client(await HttpConnection.open(options.port, options));
  }

  get socket(): TLSSocket {
    return this.connection.socket;
  }

  async echo(random: Random): Promise<void> {
    const body = random.bytes(random.between(0, 2_000));
    this.socket.write(`POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n`);
    this.socket.write(body);
    const { status, body: echoed } = await this.connection.answer();
    requireOk(status);
    requireSame(Buffer.from(echoed).toString("hex"), body);
  }

  async download(random: Random, pauseMs: number): Promise<void> {
    const [seed, length] = [String(random.between(0, 1e9)), random.between(1, MAX_BULK_BYTES)];
    this.connection.send(`/content?seed=${seed}&length=${length}`);
    const { status, headers } = await this.connection.head();
    requireOk(status);
    if (pauseMs > 0) {
      this.socket.pause();
      await delay(pauseMs);
      this.socket.resume();
    }
    requireSame(await digest(this.connection.body(headers)), await digest(content(seed, length)));
  }

  async upload(random: Random): Promise<void> {
    const [seed, length] = [String(random.between(0, 1e9)), random.between(1, MAX_BULK_BYTES)];
    this.socket.write(`POST /digest HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${length}\r\n\r\n`);
    for (const block of content(seed, length)) {
      if (!this.socket.write(block)) await this.#drained();
    }
    const { status, text } = await this.connection.answer();
    requireOk(status);
    requireSame(text, await digest(content(seed, length)));
  }

  async #drained(): Promise<void> {
    if (this.socket.destroyed) throw new Error("the connection was cut", { cause: this.socket.errored });
    const first = new AbortController();
    const { signal } = first;
    await Promise.race(["drain", "close"].map((event) => once(this.socket, event, { signal }).catch(() => {})));
    first.abort();
  }

  async chat(random: Random): Promise<void> {
    const pauseMs = random.between(0, 500);
    await this.connection.upgrade("/chat");
    for (let left = random.between(1, 20); left > 0; left--) {
      const text = `message ${random.between(0, 1e9)}`;
      this.connection.sendText(text);
      requireSame(await this.connection.receiveText(), text);
      await delay(pauseMs);
    }
  }

  close(): void {
    this.connection.close();
  }
}

export class Http2Client implements Client {
  readonly socket: TLSSocket;
  readonly #session: ClientHttp2Session;

  constructor(socket: TLSSocket) {
    this.socket = socket;
    this.#session = connectHttp2("https://localhost", { createConnection: () => socket });
    this.#session.on("error", () => {});
  }

  static async open(options: ConnectionOptions & { port: number }): Promise<Http2Client> {
    const socket = connect({ host: "127.0.0.1", ALPNProtocols: ["h2"], ...options });
    socket.on("error", () => {});
    await new Promise<void>((resolve, reject) => {
      const fail = () => reject(new Error("no handshake", { cause: socket.errored }));
      socket.once("secureConnect", resolve).once("close", fail);
    });
    if (socket.alpnProtocol !== "h2") throw new Violation(`ALPN does not give h2: ${socket.alpnProtocol}`);
    return new Http2Client(socket);
  }

  async echo(random: Random): Promise<void> {
    const bodies = Array.from({ length: random.between(1, 4) }, () => random.bytes(random.between(1, 2_000)));
    const answered = new AbortController();
    const reset = this.#reset(answered.signal);
    reset.catch(() => {});
    await Promise.race([reset, this.#exchange(bodies)]).finally(() => answered.abort());
  }

  /** Rejects once the system has no peer any more: a client of Node 24.21 does not notice every reset. */
  async #reset(signal: AbortSignal): Promise<never> {
    do await delay(RESET_LOOK_MS, undefined, { signal }); while (this.socket.remoteAddress !== undefined);
    throw new Error("the connection was reset");
  }

  async #exchange(bodies: readonly Buffer[]): Promise<void> {
    await Promise.all(bodies.map(async (body) => {
      const stream = this.#session.request({ ":method": "POST", ":path": "/echo" });
      let status: unknown;
      stream.once("response", (headers) => status = headers[":status"]).end(body);
      const parts: Buffer[] = [];
      for await (const part of stream) parts.push(part);
      // A connection that is cut here ends a stream like any other end.
      requireOk(status);
      requireSame(Buffer.concat(parts).toString("hex"), body);
    }));
  }

  close(): void {
    this.#session.destroy();
    this.socket.destroy();
  }
}

function requireOk(status: unknown): void {
  if (status !== 200) throw new Error(`no answer: ${status}`);
}

function requireSame(received: string, sent: string | Buffer): void {
  if (received !== (typeof sent === "string" ? sent : sent.toString("hex"))) throw new Violation("a byte is not right");
}

/** What is done on a connection whose first request has been answered. */
export const ACTIVITIES: readonly Activity[] = [
  { name: "new connection", weight: 8, protocol: "http1", run: async () => {} },
  { name: "resumption", weight: 8, protocol: "http1", run: async () => {} },
  { name: "keep-alive", weight: 1, protocol: "http1", run: echoOften },
  { name: "HTTP/2", weight: 1, protocol: "http2", run: echoOften },
  { name: "WebSocket", weight: 1, protocol: "webSocket", run: (client, random) => client.chat(random) },
  { name: "download", weight: 2, protocol: "http1", run: (client, random) => client.download(random, 0) },
  {
    name: "slow reader",
    weight: 1,
    protocol: "http1",
    run: (client, random) => client.download(random, random.between(500, 4_000)),
  },
  { name: "upload", weight: 2, protocol: "http1", run: (client, random) => client.upload(random) },
];

interface Activity {
  readonly name: string;
  /** How often it is chosen: what takes long is chosen less. */
  readonly weight: number;
  readonly protocol: Protocol;
  readonly run: (client: Http1Client, random: Random) => Promise<void>;
}

async function echoOften(client: Client, random: Random): Promise<void> {
  const pauseMs = random.between(0, 1_000);
  for (let left = random.between(1, 20); left > 0; left--) {
    await client.echo(random);
    await delay(pauseMs);
  }
}
