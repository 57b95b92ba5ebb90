/** What a reloader knows, as {@linkcode Reloader.status} tells it. Plain data, without a secret. */
export interface ReloaderStatus {
  /** How many times the configuration of the state has been replaced. */
  readonly generation: number;
  /** SHA-256 of the certificate in use, in upper-case hexadecimal with colons. */
  readonly fingerprint256: string;
  /** The DNS names and IP addresses that it is valid for. */
  readonly names: readonly string[];
  /** The first moment of its validity. */
  readonly notBefore: Date;
  /** The last moment of its validity. */
  readonly notAfter: Date;
  /** How long it is valid yet; negative once it has expired. */
  readonly secondsLeft: number;
  /** When the last reload began. */
  readonly lastAttempt: Date | undefined;
  /** When a reload last ended with a swap, or with no change. */
  readonly lastSuccess: Date | undefined;
  /** Why the last reload that was rejected was so, also when a later one succeeded. */
  readonly lastError: ReloadFailure | undefined;
  /** How many reloads have been rejected since the last success. */
  readonly failuresInARow: number;
  /** How many reloads there have been, by their outcome. */
  readonly reloads: { readonly swapped: number; readonly unchanged: number; readonly rejected: number };
  /**
   * Whether what is served is what the source held when it was last looked at: `false` while a file is missing, a
   * reload is rejected, or somebody else has swapped. `undefined` before the first look.
   */
  readonly inSync: boolean | undefined;
  /** The sets of files that are watched. */
  readonly watches: readonly WatchStatus[];
}

/** Why a reload was rejected. */
export interface ReloadFailure {
  /** When it was. */
  readonly at: Date;
  /** The code of the error, such as `KEY_MISMATCH`, where it has one. */
  readonly code: string | undefined;
  /** The message of the error. */
  readonly message: string;
}

/** How a set of files is watched. */
export interface WatchStatus {
  /** The files, as absolute paths. */
  readonly paths: readonly string[];
  /** Those of them that are not there. */
  readonly missing: readonly string[];
  /** When they were last looked at. */
  readonly checkedAt: Date | undefined;
  /** Why the system reports no changes, if it does not: they are found by the poll alone then. */
  readonly degraded: string | undefined;
}

/** A metric: its name, type, what it means, and its values by their labels. */
type Metric = readonly [name: string, type: "gauge" | "counter", help: string, values: Record<string, Value>];
type Value = number | boolean | Date | undefined;

/** The status in the text format of Prometheus, version 0.0.4. What is not known yet is left out. */
export function metricsOf(status: ReloaderStatus): string {
  const { swapped, unchanged, rejected } = status.reloads;
  const labels = `{fingerprint256="${status.fingerprint256}",names="${escapeLabel(status.names.join(","))}"}`;
  const checkedAt = Math.min(...status.watches.map(({ checkedAt }) => Number(checkedAt)));
  const metrics: readonly Metric[] = [
    ["certificate_info", "gauge", "The certificate in use", { [labels]: 1 }],
    ["certificate_not_before_timestamp_seconds", "gauge", "Begin of its validity", { "": status.notBefore }],
    ["certificate_not_after_timestamp_seconds", "gauge", "End of its validity", { "": status.notAfter }],
    ["generation", "gauge", "Number of the configuration in use", { "": status.generation }],
    ["reloads_total", "counter", "Reloads by their outcome", {
      '{outcome="swapped"}': swapped,
      '{outcome="unchanged"}': unchanged,
      '{outcome="rejected"}': rejected,
    }],
    ["last_reload_successful", "gauge", "Whether the last reload was a success", {
      "": status.lastAttempt && status.failuresInARow === 0,
    }],
    ["last_reload_timestamp_seconds", "gauge", "When the last reload began", { "": status.lastAttempt }],
    ["last_reload_success_timestamp_seconds", "gauge", "When a reload was last a success", {
      "": status.lastSuccess,
    }],
    ["in_sync", "gauge", "Whether what is served is what the source holds", { "": status.inSync }],
    ["watch_degraded", "gauge", "Whether files are watched by polling alone", {
      "": status.watches.length > 0 ? status.watches.some(({ degraded }) => degraded !== undefined) : undefined,
    }],
    ["watch_checked_timestamp_seconds", "gauge", "When files were last looked at, of several sets the longest ago", {
      "": Number.isFinite(checkedAt) ? checkedAt / 1000 : undefined,
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

function numberOf(value: Value): number {
  return value instanceof Date ? value.getTime() / 1000 : Number(value);
}

function escapeLabel(value: string): string {
  return value.replace(/["\\]/g, "\\$&").replaceAll("\n", "\\n");
}
