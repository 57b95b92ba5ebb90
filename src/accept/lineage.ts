import { AlpnChallenges } from "./alpn_challenges.ts";
import { drainPolicyOf } from "./drain_options.ts";
import type { HandshakeServer, Lineage } from "./handshake_server.ts";
import { LiveConnections, type LivePolicy } from "./live_connections.ts";
import { RecentServers } from "./recent_servers.ts";
import { VerifiedClients } from "./verified_clients.ts";

/** The parts of a lineage that come from a state. */
interface LineageOptions extends Partial<LivePolicy> {
  /** Answers ACME challenges. */
  readonly challenges?: AlpnChallenges;
  /** The clients that the servers of the state have verified. */
  readonly verifiedClients?: VerifiedClients;
  /** The maximum number of servers for several certified keys. */
  readonly maxContexts?: number;
}

/**
 * Makes the lineage of a state, of one server that follows a state, or of an acceptor without a state. Each server gets
 * its own.
 */
export function createLineage(current: () => HandshakeServer, options: LineageOptions = {}): Lineage {
  const { challenges = new AlpnChallenges(), verifiedClients = new VerifiedClients(), maxContexts } = options;
  const { allowClient, authorityUse, drainTally } = options;
  const { drain = drainPolicyOf(), endWithClientCertificate = false } = options;
  return {
    verifiedClients,
    connections: new LiveConnections(
      { drain, endWithClientCertificate, allowClient, authorityUse, drainTally },
      current,
    ),
    challenges,
    servers: new RecentServers(maxContexts),
    allowClient,
    authorityUse,
    current,
  };
}
