// Drivers of the native servers, as small as the handoff needs them: what is under test is the handoff.
import process from "node:process";
import { connect } from "node:tls";
import { tlsOptions } from "../../src/config/server_options.ts";
import { servedFingerprint } from "../../src/config/proof.ts";
import { TlsReloadError } from "../../mod.ts";
import type { TlsAcceptor } from "../../src/accept/tls_acceptor.ts";
import { type ListenAddress, LOOPBACK, type NativeRuntime, type NativeServer } from "../../src/native/native_server.ts";

declare const Bun: { serve(options: object): BunNative };
interface BunNative {
  readonly port: number;
  readonly id: string;
  stop(closeActiveConnections?: boolean): Promise<void>;
  ref(): void;
  unref(): void;
  upgrade(request: Request): boolean;
}
interface DenoNative {
  readonly addr: { readonly port: number };
  readonly finished: Promise<void>;
  ref(): void;
  unref(): void;
}
interface DenoConn {
  readonly readable: ReadableStream<Uint8Array>;
  write(bytes: Uint8Array): Promise<number>;
  read(into: Uint8Array): Promise<number | null>;
  close(): void;
}
interface DenoListener {
  readonly addr: { readonly port: number };
  accept(): Promise<DenoConn>;
  close(): void;
  ref(): void;
  unref(): void;
}
declare const Deno: {
  serve(options: object, handler: (request: Request) => Response | Promise<Response>): DenoNative;
  listenTls(options: object): DenoListener;
  upgradeWebSocket(request: Request): { socket: WebSocket; response: Response };
};

/** A server that a driver started. */
export interface TestServer extends NativeServer {
  /** The generation that it serves. */
  readonly generation: number;
  /** Whether the handoff has ended it. */
  readonly isStopped: boolean;
}

/** What a test changes about a driver. */
export interface DriverOptions {
  /** Passed on to the server that listens first. */
  readonly reusePort?: boolean;
  /** Waited for before each proof. */
  readonly beforeProof?: (acceptor: TlsAcceptor) => Promise<void> | void;
  /** Called before each start. */
  readonly beforeStart?: (acceptor: TlsAcceptor) => void;
  /** Called when a request has arrived. */
  readonly onRequest?: (request: Request) => Response | undefined | void;
  /** Throws as the native server cannot serve it. */
  readonly requireServable?: NativeRuntime<TestServer>["requireServable"];
}

/** A driver that counts what it started. */
export interface TestRuntime extends NativeRuntime<TestServer> {
  readonly name: string;
  readonly started: TestServer[];
}

const PROOF_TIMEOUT_MS = 5_000;

abstract class Driver implements TestRuntime {
  abstract readonly name: string;
  readonly started: TestServer[] = [];
  protected readonly options: DriverOptions;

  constructor(options: DriverOptions) {
    this.options = options;
  }

  start(acceptor: TlsAcceptor, address: ListenAddress): TestServer {
    this.options.beforeStart?.(acceptor);
    const server = this.listen(acceptor, { ...address, isFirst: address !== LOOPBACK });
    this.started.push(server);
    return server;
  }

  abstract listen(acceptor: TlsAcceptor, address: ListenAddress & { readonly isFirst: boolean }): TestServer;

  async prove(server: TestServer, acceptor: TlsAcceptor): Promise<void> {
    await this.options.beforeProof?.(acceptor);
    const client = connect({ host: "127.0.0.1", port: server.port, rejectUnauthorized: false });
    client.on("error", () => {});
    try {
      const served = await servedFingerprint(client, PROOF_TIMEOUT_MS);
      if (served !== acceptor.config.leaf.fingerprint256) throw new Error("another certificate");
    } catch (cause) {
      throw new TlsReloadError("CONFIG_UNUSABLE", "Cannot use TLS config: the server does not serve it", { cause });
    } finally {
      client.destroy();
    }
  }

  requireServable(config: Parameters<NativeRuntime<TestServer>["requireServable"]>[0]): void {
    this.options.requireServable?.(config);
  }

  protected answer(request: Request, generation: number): Response {
    return this.options.onRequest?.(request) || new Response(`generation ${generation}`);
  }
}

class BunServeDriver extends Driver {
  readonly name = "Bun.serve";

  listen({ config, generation }: TlsAcceptor, address: ListenAddress & { isFirst: boolean }): TestServer {
    const ended = Promise.withResolvers<void>();
    const { minVersion: _, ...tls } = tlsOptions(config, config.certifiedKeys[0]!);
    const { isFirst, ...where } = address;
    const native = Bun.serve({
      ...where,
      ...(isFirst && { reusePort: this.options.reusePort ?? false }),
      // With an id, Bun --hot gives the server that runs.
      id: null,
      development: false,
      idleTimeout: 255,
      tls,
      fetch: (request: Request) => {
        if (request.headers.get("upgrade") === "websocket" && native.upgrade(request)) return undefined;
        return this.answer(request, generation);
      },
      websocket: { message: (socket: { send(message: string): void }, message: string) => socket.send(message) },
    });
    let isStopped = false;
    return {
      generation,
      // What it reported when it had started: later it tells the port of what is under its descriptor.
      port: native.port,
      ended: ended.promise,
      get isStopped() {
        return isStopped;
      },
      stop() {
        isStopped = true;
        native.stop(true);
        ended.resolve();
      },
      ref: () => native.ref(),
      unref: () => native.unref(),
    };
  }
}

class DenoServeDriver extends Driver {
  readonly name = "Deno.serve";

  listen({ config, generation }: TlsAcceptor, address: ListenAddress & { isFirst: boolean }): TestServer {
    const abort = new AbortController();
    const { cert, key } = tlsOptions(config, config.certifiedKeys[0]!);
    const { isFirst, ...where } = address;
    const native = Deno.serve({
      ...where,
      ...(isFirst && this.options.reusePort && { reusePort: true }),
      cert,
      key: key.toString(),
      signal: abort.signal,
      onListen() {},
    }, (request) => {
      if (request.headers.get("upgrade") !== "websocket") return this.answer(request, generation);
      const { socket, response } = Deno.upgradeWebSocket(request);
      socket.onmessage = ({ data }) => socket.send(data);
      return response;
    });
    return {
      generation,
      port: native.addr.port,
      ended: native.finished,
      get isStopped() {
        return abort.signal.aborted;
      },
      stop: () => abort.abort(),
      ref: () => native.ref(),
      unref: () => native.unref(),
    };
  }
}

class DenoListenTlsDriver extends Driver {
  readonly name = "Deno.listenTls";

  listen({ config, generation }: TlsAcceptor, address: ListenAddress & { isFirst: boolean }): TestServer {
    const { cert, key } = tlsOptions(config, config.certifiedKeys[0]!);
    const { isFirst: _, ...where } = address;
    const listener = Deno.listenTls({ ...where, cert, key: key.toString() });
    const ended = Promise.withResolvers<void>();
    const connections = new Set<DenoConn>();
    let isStopped = false;
    const serve = async () => {
      // Deno heeds unref() of a TLS listener at the next accept() only.
      await undefined;
      for (;;) {
        const connection = await listener.accept();
        connections.add(connection);
        this.#serveOne(connection, generation).catch(() => {}).finally(() => {
          connections.delete(connection);
          connection.close();
        }).catch(() => {});
      }
    };
    // After EMFILE the listener is still open.
    serve().catch((error) => isStopped ? undefined : ended.reject(error));
    return {
      generation,
      port: listener.addr.port,
      ended: ended.promise,
      get isStopped() {
        return isStopped;
      },
      stop() {
        isStopped = true;
        listener.close();
        ended.resolve();
        for (const connection of connections) connection.close();
      },
      ref: () => listener.ref(),
      unref: () => listener.unref(),
    };
  }

  /** Speaks as much HTTP as the tests need. */
  async #serveOne(connection: DenoConn, generation: number): Promise<void> {
    const buffer = new Uint8Array(4096);
    for (let text = "";;) {
      const count = await connection.read(buffer);
      if (count === null) return;
      text += new TextDecoder("latin1").decode(buffer.subarray(0, count));
      for (let end; (end = text.indexOf("\r\n\r\n")) >= 0;) {
        text = text.slice(end + 4);
        const body = `generation ${generation}`;
        const head = `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`;
        await connection.write(new TextEncoder().encode(head + body));
      }
    }
  }
}

/** The kinds of native servers that this runtime has. */
export const NATIVE_RUNTIMES: readonly ((options?: DriverOptions) => TestRuntime)[] = process.versions["bun"]
  ? [(options = {}) => new BunServeDriver(options)]
  : process.versions["deno"]
  ? [(options = {}) => new DenoServeDriver(options), (options = {}) => new DenoListenTlsDriver(options)]
  : [];
