// What the servers have in common: how they are started, and what they answer.
import { once } from "node:events";
import type { RequestListener } from "node:http";
import type { AddressInfo, Server } from "node:net";
import { TlsConfig, TlsState } from "../../mod.ts";

/** A certificate and its key, and the authority of the clients if they must show certificates. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
  readonly requestCert?: true;
  readonly rejectUnauthorized?: true;
}

export interface Started {
  readonly port: number;
  /** Serves the identity of this index from now on. */
  swap?(index: 0 | 1): unknown;
}

/** Starts a server with the first of two identities; the folder holds the files to watch. */
export type Start = (identities: readonly [Identity, Identity], folder: string) => Started | Promise<Started>;

export const LOOPBACK = { hostname: "127.0.0.1", port: 0 };
/** Where a WebSocket echoes. */
export const ECHO = "/echo";
/** Where a server that would not say so by itself says that it closes the connection. */
export const CLOSING = "/200/fresh";

const HELLO = new TextEncoder().encode("hello\n");
const BODIES = new Map(
  [200, 1024, 20_480, 64 * 1024 * 1024].map((size) => [`/${size}`, new Uint8Array(size).fill(120)]),
);
BODIES.set(CLOSING, BODIES.get("/200")!);

/** What is served at a path; `hello` at any other. */
export function bodyOf(path = "/"): Uint8Array<ArrayBuffer> {
  return BODIES.get(path) ?? HELLO;
}

export function pathOf({ url }: Request): string {
  return url.slice(url.indexOf("/", 8));
}

export const listener: RequestListener = ({ url }, response) => {
  const body = bodyOf(url);
  response.setHeader("content-length", body.length).end(body);
};

export async function listen(server: Server): Promise<Started> {
  await once(server.listen(LOOPBACK.port, LOOPBACK.hostname), "listening");
  return { port: (server.address() as AddressInfo).port };
}

/** A server that follows a state. */
export function following(
  start: (state: TlsState) => Started | Promise<Started>,
  options: { readonly alpnProtocols?: readonly string[] } = {},
): Start {
  return async (identities) => {
    const configs = identities.map(({ cert, key, ca }) =>
      new TlsConfig({ cert, key, ...options, ...(ca !== undefined && { clientAuth: { ca, mode: "required" } }) })
    );
    const state = new TlsState(configs[0]!);
    const { port } = await start(state);
    return { port, swap: (index) => state.swap(configs[index]!) };
  };
}

/** One server after the other on the same port. */
export async function replacing<Server extends { readonly port: number }>(
  start: (index: 0 | 1, port: number) => Server | Promise<Server>,
  replace: (previous: Server, next: () => Server | Promise<Server>) => Server | Promise<Server>,
): Promise<Started> {
  let server = await start(0, 0);
  const { port } = server;
  const swap = async (index: 0 | 1) => void (server = await replace(server, () => start(index, port)));
  return { port, swap };
}
