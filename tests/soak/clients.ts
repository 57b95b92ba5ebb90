// Those who behave: each good request must be answered, byte for byte, with the certificate of the moment.
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { setTimeout as delay } from "node:timers/promises";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import type { TlsVersion } from "../../mod.ts";
import { HttpConnection } from "../support/http.ts";
import type { Identity } from "./authorities.ts";
import { content, digest } from "./content.ts";
import type { Random } from "./random.ts";
import type { Target } from "./server.ts";
import type { Protocol } from "./servers.ts";
import { type SoakRun, Violation } from "./soak_run.ts";

/** Longer than the longest visit, on a machine that is busy. */
const PATIENCE_MS = 120_000;
const MAX_BULK_BYTES = 4 << 20;
const ANYBODY: Identity = { name: "anybody", authority: "nobody" };

/** A connection that has been made, whatever is spoken on it. */
interface Client {
  readonly socket: TLSSocket;
  echo(random: Random): Promise<void>;
  close(): void;
}

class Http1Client implements Client {
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
    requireSame(await this.connection.answer().then((answer) => Buffer.from(answer.body).toString("hex")), body);
  }

  async download(random: Random, pauseMs: number): Promise<void> {
    const [seed, length] = [String(random.between(0, 1e9)), random.between(1, MAX_BULK_BYTES)];
    this.connection.send(`/content?seed=${seed}&length=${length}`);
    const { headers } = await this.connection.head();
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
    requireSame((await this.connection.answer()).text, await digest(content(seed, length)));
  }

  async #drained(): Promise<void> {
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

class Http2Client implements Client {
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
    await Promise.all(bodies.map(async (body) => {
      const stream = this.#session.request({ ":method": "POST", ":path": "/echo" });
      let status: unknown;
      stream.once("response", (headers) => status = headers[":status"]).end(body);
      const parts: Buffer[] = [];
      for await (const part of stream) parts.push(part);
      // A connection that is cut here ends a stream like any other end.
      if (status !== 200) throw new Error(`no answer: ${status}`);
      requireSame(Buffer.concat(parts).toString("hex"), body);
    }));
  }

  close(): void {
    this.#session.destroy();
    this.socket.destroy();
  }
}

/** What is done on a connection whose first request has been answered. */
const ACTIVITIES: readonly Activity[] = [
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

function requireSame(received: string, sent: string | Buffer): void {
  if (received !== (typeof sent === "string" ? sent : sent.toString("hex"))) throw new Violation("a byte is not right");
}

/** A session that a server has given, and to whom. */
interface Ticket {
  readonly target: Target;
  readonly identity: Identity;
  readonly version: TlsVersion;
  readonly session: Buffer;
}

/** Those who connect, and the sessions that they keep. */
export class Clients {
  readonly #run: SoakRun;
  readonly #tickets = new Map<string, Ticket>();

  constructor(run: SoakRun) {
    this.#run = run;
  }

  /** One connection of somebody to some server, for something. */
  async visit(random: Random): Promise<void> {
    const { name: what, protocol, run: activity } = random.weighted(ACTIVITIES);
    const speaking = this.#run.targets.filter(({ speaks }) => speaks.includes(protocol));
    const tickets = [...this.#tickets.values()].filter(({ target }) => speaking.includes(target));
    const ticket = what === "resumption" && tickets.length > 0 ? random.pick(tickets) : undefined;
    // Mostly where and by whom it was got; sometimes elsewhere, or by somebody else.
    const isOwn = !ticket || random.chance(0.8);
    const target = ticket && isOwn ? ticket.target : random.pick(speaking);
    const { identities } = this.#run.authorities;
    const identity = ticket && isOwn ? ticket.identity : target.state === "open" ? ANYBODY : random.pick(identities);
    const version = ticket?.version ?? random.pick<TlsVersion>(["TLSv1.2", "TLSv1.3"]);

    const ledger = this.#run.ledgers[target.state];
    const [mark, began] = [ledger.mark(), performance.now()];
    const trusts = ({ authority }: Identity) =>
      ledger.since(mark).map(({ trusted }) => target.state === "open" || trusted.includes(authority));
    let isIn = false;
    try {
      await within(PATIENCE_MS, async (onClose) => {
        const client = await this.#open(target, protocol, identity, version, ticket);
        onClose(() => client.close());
        const { socket } = client;
        const isReused = socket.isSessionReused();
        const { fingerprint256 } = socket.getPeerCertificate();
        // A resumed handshake sends no certificate.
        if (!isReused && !ledger.since(mark).some((entry) => entry.fingerprint256 === fingerprint256)) {
          throw new Violation(`served a certificate that is not current: ${fingerprint256}`);
        }
        // Of TLS 1.3 only what comes after the handshake can be resumed (RFC 8446 section 4.6.1).
        let session = version === "TLSv1.2" ? socket.getSession() : undefined;
        socket.on("session", (latest) => session = latest);
        await client.echo(random);
        // Whoever resumes a session is whom it was given to.
        const holder = ticket && isReused ? ticket.identity : identity;
        if (!trusts(holder).includes(true)) {
          throw new Violation(`served somebody who is not trusted${isReused ? ", at a resumption" : ""}`);
        }
        isIn = true;
        await activity(client as Http1Client, random);
        if (session) {
          const key = `${target.port} ${holder.name} ${version}`;
          this.#tickets.set(key, { target, identity: holder, version, session });
        }
        this.#run.count(`request ${what}`);
        this.#run.count(`server ${target.kind} (${target.state})`);
        if (isReused) this.#run.count("sessions resumed");
      });
    } catch (error) {
      const context = `${what}, ${target.kind} (${target.state}), ${identity.name}${isIn ? ", after its start" : ""}`;
      if (error instanceof Violation) throw new Violation(`${error.message}: ${context}`);
      const isTrusted = isOwn && !trusts(identity).includes(false);
      if (isIn || isTrusted && !this.#run.wasExhaustedSince(began)) {
        throw new Violation(`a good request has failed: ${context}`, { cause: error });
      }
      this.#run.count(isTrusted ? "failures for want of file descriptors" : "clients refused");
    }
  }

  #open(target: Target, protocol: Protocol, { cert, key }: Identity, maxVersion: TlsVersion, ticket?: Ticket) {
    const options = {
      port: target.port,
      ca: this.#run.authorities.root.cert,
      servername: "localhost",
      rejectUnauthorized: true,
      maxVersion,
      ...(cert && key && { cert, key }),
      ...(ticket && { session: ticket.session }),
    };
    return protocol === "http2" ? Http2Client.open(options) : Http1Client.open(options);
  }
}

/** Does something that must end in time, and closes in any case what it opened. */
async function within(ms: number, body: (onClose: (close: () => void) => void) => Promise<void>): Promise<void> {
  const end = new AbortController();
  const { signal } = end;
  const late = delay(ms, undefined, { signal }).then(() => {
    throw new Violation(`no end within ${ms} ms`);
  });
  late.catch(() => {});
  await Promise.race([late, body((close) => signal.addEventListener("abort", close))]).finally(() => end.abort());
}
