import type { AuthorityStatus } from "../accept/authority_use.ts";
import type { ReloaderStatus } from "./status.ts";

/** A metric: its name, its type, its help text, and its values by their labels. */
type Metric = readonly [name: string, type: "gauge" | "counter", help: string, values: Record<string, Value>];
type Value = number | boolean | Date | undefined;

/** The status in the text format of Prometheus, version 0.0.4. Unknown values are left out. */
export function metricsOf(status: ReloaderStatus): string {
  const { swapped, unchanged, pending, rejected } = status.reloads;
  const { streams } = status;
  const expiry = status.certificates.map(({ role, subject, fingerprint256, notAfter }) => {
    return [`{role="${role}",subject="${escapeLabel(subject)}",fingerprint256="${fingerprint256}"}`, notAfter] as const;
  });
  const ofAuthorities = (valueOf: (authority: AuthorityStatus) => Value) =>
    Object.fromEntries(
      status.authorities.map((each) => [
        `{subject="${escapeLabel(each.subject)}",fingerprint256="${each.fingerprint256}"}`,
        valueOf(each),
      ]),
    );
  const nextUpdates = status.revocationLists.map(({ issuer, fingerprint256, nextUpdate }) => {
    return [`{issuer="${escapeLabel(issuer)}",fingerprint256="${fingerprint256}"}`, nextUpdate] as const;
  });
  const labels = `{fingerprint256="${status.fingerprint256}",names="${escapeLabel(status.names.join(","))}"}`;
  const checkedAt = Math.min(...status.watches.map(({ checkedAt }) => Number(checkedAt)));
  const metrics: readonly Metric[] = [
    ["certificate_info", "gauge", "The certificate in use", { [labels]: 1 }],
    ["certificate_not_before_timestamp_seconds", "gauge", "Begin of its validity", { "": status.notBefore }],
    ["certificate_not_after_timestamp_seconds", "gauge", "End of its validity", { "": status.notAfter }],
    ["used_certificate_not_after_timestamp_seconds", "gauge", "End of the validity of each certificate in use", {
      ...Object.fromEntries(expiry),
    }],
    ["crl_next_update_timestamp_seconds", "gauge", "When each revocation list becomes stale", {
      ...Object.fromEntries(nextUpdates),
    }],
    ["authority_connections", "gauge", "Open connections of clients that each authority has verified", {
      ...ofAuthorities(({ liveConnections }) => liveConnections),
    }],
    ["authority_connections_total", "counter", "Connections of clients that each authority has verified", {
      ...ofAuthorities(({ totalConnections }) => totalConnections),
    }],
    ["authority_used_timestamp_seconds", "gauge", "When a client last used each authority", {
      ...ofAuthorities(({ lastUsed }) => lastUsed),
    }],
    ["config_info", "gauge", "What is served and trusted, by digests that are the same in all processes alike", {
      [`{config_digest="${status.configDigest}",trust_digest="${status.trustDigest}"}`]: 1,
    }],
    ["generation", "gauge", "Number of the configuration in use", { "": status.generation }],
    ["connections", "gauge", "Open connections by the configuration that they were accepted with", {
      ...Object.fromEntries(status.generations.map(({ generation, connections }) => {
        return [`{generation="${generation}"}`, connections];
      })),
    }],
    ["draining_connections", "gauge", "Connections that are being ended after a swap", { "": status.drain.ending }],
    ["drained_connections_total", "counter", "Connections that swaps have ended, by the way that they ended", {
      '{way="gently"}': status.drain.gently,
      '{way="forced"}': status.drain.forced,
      '{way="untrusted"}': status.drain.untrusted,
    }],
    ["reloads_total", "counter", "Reloads by their outcome", {
      '{outcome="swapped"}': swapped,
      '{outcome="unchanged"}': unchanged,
      '{outcome="pending"}': pending,
      '{outcome="rejected"}': rejected,
    }],
    ["last_reload_successful", "gauge", "Whether the last reload was a success", {
      "": status.lastAttempt && status.failuresInARow === 0,
    }],
    ["partial_failures", "gauge", "Pairs of files that cannot be loaded, whose previous certificates are served", {
      "": status.partialFailures.length,
    }],
    ["last_reload_timestamp_seconds", "gauge", "When the last reload began", { "": status.lastAttempt }],
    ["last_reload_success_timestamp_seconds", "gauge", "When a reload was last a success", {
      "": status.lastSuccess,
    }],
    [
      "pending_valid_from_timestamp_seconds",
      "gauge",
      "When the certificate that waits for its validity is swapped in",
      {
        "": status.pending?.validFrom,
      },
    ],
    ["in_sync", "gauge", "Whether what is served is what the source holds", { "": status.inSync }],
    ["watch_degraded", "gauge", "Whether changes of files are noticed late or never", {
      "": status.watches.length > 0 ? status.watches.some(({ degraded }) => degraded !== undefined) : undefined,
    }],
    ["watch_checked_timestamp_seconds", "gauge", "When files were last looked at, of several sets the longest ago", {
      "": Number.isFinite(checkedAt) ? checkedAt / 1000 : undefined,
    }],
    ["stream_connected", "gauge", "Whether all followed streams are connected", {
      "": streams.length > 0 ? streams.every(({ connected }) => connected !== false) : undefined,
    }],
    ["stream_items_total", "counter", "Items of followed streams", {
      "": streams.length > 0 ? sum(streams.map(({ items }) => items)) : undefined,
    }],
    ["stream_reconnects_total", "counter", "Renewed subscriptions of followed streams", {
      "": streams.length > 0 ? sum(streams.map(({ reconnects }) => reconnects)) : undefined,
    }],
  ];
  return metrics.flatMap(linesOf).map((line) => `${line}\n`).join("");
}

function linesOf([name, type, help, values]: Metric): string[] {
  const known = Object.entries(values).filter(([, value]) => value !== undefined);
  if (known.length === 0) return [];
  return [
    `# HELP tls_reload_${name} ${help}`,
    `# TYPE tls_reload_${name} ${type}`,
    ...known.map(([labels, value]) => `tls_reload_${name}${labels} ${numberOf(value)}`),
  ];
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function numberOf(value: Value): number {
  return value instanceof Date ? value.getTime() / 1000 : Number(value);
}

function escapeLabel(value: string): string {
  return value.replace(/["\\]/g, "\\$&").replaceAll("\n", "\\n");
}
