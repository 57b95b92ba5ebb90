import type { ListenAddress } from "../native/native_server.ts";
import type { Peer } from "../native/peers.ts";
import { requireNet } from "./permissions.ts";
import type { DenoAcceptOptions, DenoNetAddr } from "./types.ts";

/** Where and how the first generation listens. */
export interface DenoAddress extends ListenAddress {
  /** How many connections the system may queue. */
  readonly tcpBacklog?: number | undefined;
  /** Whether other processes may listen there too, on Linux. */
  readonly reusePort?: boolean | undefined;
}

/**
 * Where `listenTls()` and `serve()` listen.
 *
 * @param options The options of the server.
 * @param port The port.
 * @throws {TlsReloadError} `UNSUPPORTED` without the permission to listen there.
 */
export function listenAddressOf(options: DenoAcceptOptions, port: number): DenoAddress & { readonly hostname: string } {
  const { hostname = "0.0.0.0", tcpBacklog, reusePort } = options;
  requireNet(hostname, port);
  return { hostname, port, ...(tcpBacklog && { tcpBacklog }), ...(reusePort && { reusePort }) };
}

/** The address of a peer in the form of Deno. */
export function netAddr({ address, port }: Peer): DenoNetAddr {
  return { transport: "tcp", hostname: address, port };
}
