import type { ReloaderStatus } from "./status.ts";

/** A metric: its name, its type, its help text, and its values with their labels. */
type Metric = readonly [name: string, type: "gauge" | "counter", help: string, values: Value | readonly Labelled[]];
type Value = number | boolean | Date | undefined;
type Labelled = readonly [labels: Readonly<Record<string, string>>, value: Value];

/** The status in the text format of Prometheus, version 0.0.4. Unknown values are left out. */
export function metricsOf(status: ReloaderStatus): string {
  const metrics = [certificates, clients, connections, reloads, sources].flatMap((part) => part(status));
  return metrics.flatMap(linesOf).map((line) => `${line}\n`).join("");
}

function certificates(status: ReloaderStatus): Metric[] {
  const { fingerprint256, names, configDigest, trustDigest } = status;
  const info = { fingerprint256, names: names.join(",") };
  const digests = { config_digest: configDigest, trust_digest: trustDigest };
  const ends = status.certificates.map(({ role, subject, fingerprint256, notAfter }): Labelled => {
    return [{ role, subject, fingerprint256 }, notAfter];
  });
  return [
    ["certificate_info", "gauge", "The certificate in use", [[info, 1]]],
    ["certificate_not_before_timestamp_seconds", "gauge", "Begin of its validity", status.notBefore],
    ["certificate_not_after_timestamp_seconds", "gauge", "End of its validity", status.notAfter],
    ["used_certificate_not_after_timestamp_seconds", "gauge", "End of the validity of each certificate in use", ends],
    ["config_info", "gauge", "Digests that are equal in processes that serve, or trust, the same", [[digests, 1]]],
    ["generation", "gauge", "Number of the configuration in use", status.generation],
  ];
}

function clients({ authorities, revocationLists }: ReloaderStatus): Metric[] {
  const ofAuthorities = (valueOf: (authority: ReloaderStatus["authorities"][number]) => Value) => {
    return authorities.map((each): Labelled => {
      const { subject, fingerprint256 } = each;
      return [{ subject, fingerprint256 }, valueOf(each)];
    });
  };
  const live = ofAuthorities(({ liveConnections }) => liveConnections);
  const total = ofAuthorities(({ totalConnections }) => totalConnections);
  const used = ofAuthorities(({ lastUsed }) => lastUsed);
  const nextUpdates = revocationLists.map(({ issuer, fingerprint256, nextUpdate }): Labelled => {
    return [{ issuer, fingerprint256 }, nextUpdate];
  });
  return [
    ["crl_next_update_timestamp_seconds", "gauge", "When each revocation list becomes stale", nextUpdates],
    ["authority_connections", "gauge", "Open connections of clients that each authority has verified", live],
    ["authority_connections_total", "counter", "Connections of clients that each authority has verified", total],
    ["authority_used_timestamp_seconds", "gauge", "When a client last used each authority", used],
  ];
}

function connections({ generations, drain: { ending, ...ended } }: ReloaderStatus): Metric[] {
  const open = generations.map((
    { generation, connections },
  ): Labelled => [{ generation: `${generation}` }, connections]);
  const drained = Object.entries(ended).map(([way, count]): Labelled => [{ way }, count]);
  return [
    ["connections", "gauge", "Open connections by the configuration that they were accepted with", open],
    ["draining_connections", "gauge", "Connections that are being ended after a swap", ending],
    ["drained_connections_total", "counter", "Connections that swaps have ended, by the way they ended", drained],
  ];
}

function reloads(status: ReloaderStatus): Metric[] {
  const { lastAttempt, lastSuccess, failuresInARow, partialFailures, pending, inSync } = status;
  const outcomes = Object.entries(status.reloads).map(([outcome, count]): Labelled => [{ outcome }, count]);
  const isSuccessful = lastAttempt && failuresInARow === 0;
  const validFrom = pending?.validFrom;
  return [
    ["reloads_total", "counter", "Reloads by their outcome", outcomes],
    ["last_reload_successful", "gauge", "Whether the last reload was a success", isSuccessful],
    [
      "partial_failures",
      "gauge",
      "Pairs that cannot be loaded and keep their previous certificate",
      partialFailures.length,
    ],
    ["last_reload_timestamp_seconds", "gauge", "When the last reload began", lastAttempt],
    ["last_reload_success_timestamp_seconds", "gauge", "When a reload was last a success", lastSuccess],
    ["pending_valid_from_timestamp_seconds", "gauge", "When the pending certificate becomes valid", validFrom],
    ["in_sync", "gauge", "Whether what is served is what the source holds", inSync],
  ];
}

function sources({ watches, streams }: ReloaderStatus): Metric[] {
  const ifAny = (all: readonly unknown[], value: Value) => all.length > 0 ? value : undefined;
  const isDegraded = watches.some(({ degraded }) => degraded !== undefined);
  const checkedAt = Math.min(...watches.map(({ checkedAt }) => Number(checkedAt)));
  const isConnected = streams.every(({ connected }) => connected !== false);
  const items = sum(streams.map(({ items }) => items));
  const reconnects = sum(streams.map(({ reconnects }) => reconnects));
  return [
    ["watch_degraded", "gauge", "Whether changes of files are noticed late or never", ifAny(watches, isDegraded)],
    [
      "watch_checked_timestamp_seconds",
      "gauge",
      "When files were last read, of several sets the longest ago",
      Number.isFinite(checkedAt) ? checkedAt / 1000 : undefined,
    ],
    ["stream_connected", "gauge", "Whether all followed streams are connected", ifAny(streams, isConnected)],
    ["stream_items_total", "counter", "Items of followed streams", ifAny(streams, items)],
    ["stream_reconnects_total", "counter", "Renewed subscriptions of followed streams", ifAny(streams, reconnects)],
  ];
}

function linesOf([name, type, help, values]: Metric): string[] {
  const labelled: readonly Labelled[] = isList(values) ? values : [[{}, values]];
  const known = labelled.filter(([, value]) => value !== undefined);
  if (known.length === 0) return [];
  return [
    `# HELP tls_reload_${name} ${help}`,
    `# TYPE tls_reload_${name} ${type}`,
    ...known.map(([labels, value]) => `tls_reload_${name}${textOf(labels)} ${numberOf(value)}`),
  ];
}

function isList(values: Metric[3]): values is readonly Labelled[] {
  return Array.isArray(values);
}

/** Such as `{role="server",subject="CN=example"}`; nothing without labels. */
function textOf(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return pairs.length > 0 ? `{${pairs.join()}}` : "";
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
