import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, connect as connectTcp, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { duplexPair } from "node:stream";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { parseCertificates, TlsConfig, type TlsConfigInit, type TlsReloadError, TlsState } from "../../mod.ts";
import type { Issued } from "./certificates.ts";

/** A configuration of what was issued for a test. */
export function configOf(issued: Issued, options: Partial<TlsConfigInit> = {}): TlsConfig {
  return new TlsConfig({ cert: issued.cert, key: issued.key, ...options });
}

/** An accept loop over a state: greets each client with its generation, then echoes. */
export interface EchoServer extends AsyncDisposable {
  readonly port: number;
  /** What was refused, in its order. */
  readonly refused: TlsReloadError[];
  /** Resolves at the next refusal. */
  nextRefusal(): Promise<TlsReloadError>;
  /** How many raw connections are open. */
  connections(): Promise<number>;
}

export async function echoServer(
  state: TlsState,
  options: { handshakeTimeoutMs?: number; path?: string } = {},
): Promise<EchoServer> {
  // A time for handshakes that no pause of the machine uses up.
  const { path, handshakeTimeoutMs = 60_000 } = options;
  const refused: TlsReloadError[] = [];
  const waiting: ((error: TlsReloadError) => void)[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    const acceptor = state.acceptor();
    acceptor.accept(socket, { handshakeTimeoutMs }).then((secure) => {
      secure.write(`generation ${acceptor.generation}\n`);
      secure.pipe(secure);
    }, (error) => {
      refused.push(error);
      waiting.shift()?.(error);
    });
  });
  await new Promise<void>((resolve) => path ? server.listen(path, resolve) : server.listen(0, "127.0.0.1", resolve));
  return {
    port: path ? 0 : portOf(server),
    refused,
    nextRefusal: () => new Promise((resolve) => waiting.push(resolve)),
    connections: () => new Promise((resolve) => server.getConnections((_error, count) => resolve(count))),
    [Symbol.asyncDispose]: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

/** What a client saw. */
export interface Seen {
  /** The fingerprint of the served certificate, if the handshake came that far. */
  readonly fingerprint256: string | undefined;
  readonly protocol: string | null;
  readonly alpn: string | false | null;
  /** The first line that the server sent, or `undefined` if it closed before. */
  readonly greeting: string | undefined;
}

/** Connects anew, waits for the first line, and closes. Never rejects: a refused client saw no greeting. */
export function visit(port: number, options: ConnectionOptions = {}): Promise<Seen> {
  return new Promise((resolve) => {
    const client = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ...options });
    let fingerprint256: string | undefined;
    // Asked while the connection lives: Node 22 dies of getProtocol() on one that has ended.
    let protocol: string | null = null;
    let text = "";
    const finish = () => {
      const greeting = text.includes("\n") ? text.slice(0, text.indexOf("\n")) : undefined;
      resolve({ fingerprint256, protocol, alpn: client.alpnProtocol, greeting });
      client.destroy();
    };
    client.once("secureConnect", () => {
      fingerprint256 = client.getPeerCertificate().fingerprint256;
      protocol = client.getProtocol();
      client.write("GET / HTTP/1.0\r\n\r\n");
    });
    client.on("data", (chunk) => (text += chunk).includes("\n") && finish());
    client.on("error", finish);
    client.once("close", finish);
  });
}

/**
 * Connects, and pauses between the first flight of the client and the rest of its handshake.
 *
 * @param port The port.
 * @param pause Called in the pause, when the server has answered the first flight.
 * @param options The options of the client.
 * @returns The first line that the server sent, or `undefined` if it closed before.
 */
export async function visitSlowly(
  port: number,
  pause: () => void,
  options: ConnectionOptions,
): Promise<string | undefined> {
  const tcp = await dialTcp(port);
  const [near, far] = duplexPair();
  const client = connect({ socket: far, rejectUnauthorized: false, ...options });
  client.on("error", () => {}).once("secureConnect", () => client.write("GET / HTTP/1.0\r\n\r\n"));
  const [hello] = await once(near, "data");
  tcp.write(hello);
  const [answer] = await once(tcp, "data");
  pause();
  near.write(answer);
  near.on("data", (chunk) => tcp.write(chunk));
  tcp.on("data", (chunk) => near.write(chunk));
  let text = "";
  await new Promise<void>((resolve) => {
    tcp.once("end", resolve).once("close", resolve);
    client.on("data", (chunk) => (text += chunk).includes("generation ") && resolve());
  });
  tcp.destroy();
  client.destroy();
  return /generation \d+/.exec(text)?.[0];
}

/** A connection that stays. */
export async function dial(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const client = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ...options });
  client.on("error", () => {});
  await new Promise((resolve, reject) => client.once("secureConnect", resolve).once("error", reject));
  return client;
}

/** A plain TCP connection that no error of ends the process. */
export async function dialTcp(port: number): Promise<Socket> {
  const socket = connectTcp({ host: "127.0.0.1", port, allowHalfOpen: true });
  socket.on("error", () => {});
  await new Promise((resolve) => socket.once("connect", resolve));
  return socket;
}

/** Resolves when the peer has closed the connection, be it before the call. */
export function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) return resolve();
    socket.resume().once("end", () => socket.end()).once("close", () => resolve());
    if (socket.readableEnded) socket.end();
  });
}

/** The first flight of a real client. */
export async function clientHello(options: ConnectionOptions = {}): Promise<Buffer> {
  const [near, far] = duplexPair();
  const client = connect({ socket: far, rejectUnauthorized: false, ...options });
  client.on("error", () => {});
  const [hello] = await once(near, "data");
  client.destroy();
  near.destroy();
  return hello;
}

/** It does not judge the server, and reading the roots of the system takes longer than all the rest. */
const NO_ROOTS = ["-no-CAfile", "-no-CApath", "-no-CAstore"];
const GREETING = /generation \d+\r?\n/;

/** What one run of `openssl s_client` saw. */
export interface OpensslResult {
  /** Whether a session was resumed, or `undefined` if there was no handshake. */
  readonly reused: boolean | undefined;
  /** Whether the server's first line arrived. */
  readonly greeted: boolean;
  readonly output: string;
}

/** A client that is not ours: `openssl s_client`, which can keep its session in a file and resume it. */
export class OpensslClient {
  readonly #session: string;
  readonly #folder: string;
  readonly #certificateArgs: readonly string[];

  private constructor(folder: string, certificateArgs: readonly string[]) {
    this.#folder = folder;
    this.#session = join(folder, "session.pem");
    this.#certificateArgs = certificateArgs;
  }

  /** A client with a certificate, or with none. */
  static async create(client?: Pick<Issued, "cert" | "key">): Promise<OpensslClient> {
    const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
    const args: string[] = [];
    if (client) {
      const [leaf, ...intermediates] = client.cert.split(/(?<=-----END CERTIFICATE-----\n)/).filter((pem) =>
        pem.trim()
      );
      const [pem, chain] = [join(folder, "client.pem"), join(folder, "chain.pem")];
      await writeFile(pem, leaf + client.key, { mode: 0o600 });
      args.push("-cert", pem, "-key", pem);
      if (intermediates.length > 0) {
        await writeFile(chain, intermediates.join(""));
        args.push("-cert_chain", chain);
      }
    }
    return new OpensslClient(folder, args);
  }

  /**
   * Connects and waits for a line or for the end. Without `resume` it keeps its session for a later run; with
   * `renegotiate` it begins a second handshake after the answer or the echo, and waits for the end of that.
   */
  async run(
    port: number,
    options: { args?: string[]; resume?: boolean; renegotiate?: boolean } = {},
  ): Promise<OpensslResult> {
    const { renegotiate = false } = options;
    const session = [options.resume ? "-sess_in" : "-sess_out", this.#session];
    const address = ["-connect", `127.0.0.1:${port}`];
    const process = spawn("openssl", [
      "s_client",
      ...address,
      ...NO_ROOTS,
      ...this.#certificateArgs,
      ...session,
      ...options.args ?? [],
    ]);
    // Kept apart: what is printed to one may arrive in the midst of the other.
    const printed = { stdout: "", stderr: "" };
    let hasBegun = false;
    for (const name of ["stdout", "stderr"] as const) {
      process[name].setEncoding("utf8").on("data", (text) => {
        printed[name] += text;
        if (!GREETING.test(printed.stdout)) return;
        // What arrives in the midst of a second handshake would end it.
        if (renegotiate && !/^Host: localhost|^HTTP\/1/m.test(printed.stdout)) return;
        // It tells of the certificate that it is shown, in each handshake.
        const isDone = !renegotiate || /^RENEGOTIATING$[^]*^depth=0/m.test(printed.stderr);
        if (isDone) process.stdin.end("Q\n");
        else if (!hasBegun) hasBegun = process.stdin.write("R\n") || true;
      });
    }
    process.stdin.on("error", () => {});
    // An HTTP server speaks when it is asked; the accept loop of echoServer() speaks first.
    process.stdin.write(`GET / HTTP/1.${renegotiate ? 1 : 0}\r\nHost: localhost\r\n\r\n`);
    const timer = setTimeout(() => process.kill(), 60_000);
    await new Promise((resolve) => process.once("close", resolve));
    clearTimeout(timer);
    const output = printed.stdout + printed.stderr;
    const word = /^(New|Reused), TLSv/m.exec(output)?.[1];
    return { reused: word === undefined ? undefined : word === "Reused", greeted: GREETING.test(output), output };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** The fingerprints of the chain that `openssl s_client` is served, the leaf first. */
export async function chainSeenByOpenssl(config: TlsConfig): Promise<string[]> {
  const server = await echoServer(new TlsState(config));
  const client = await OpensslClient.create();
  const { output } = await client.run(server.port, { args: ["-showcerts"] });
  await client[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  // It prints its session after the chain, and the leaf once more before that.
  const chain = output.slice(0, output.indexOf("---\nServer certificate"));
  return parseCertificates(chain).map(({ fingerprint256 }) => fingerprint256);
}
