import { assert, assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import test from "node:test";
import { TlsState } from "../../mod.ts";
import { Reloader } from "../../src/reload.ts";
import { issueCa, issueServer } from "../support/certificates.ts";
import { makeCrl } from "../support/crls.ts";
import { withFiles } from "../support/files.ts";
import { configOf } from "../support/peers.ts";
import { nextEvent } from "../reload/rotating_files.ts";

const NO_PROMTOOL = spawnSync("promtool", ["--version"]).status !== 0 && "promtool of Prometheus is not installed";
const read = (name: string) => readFileSync(new URL(`../../examples/${name}`, import.meta.url), "utf8");
const RULES = read("alert-rules.yml");
const DASHBOARD = read("grafana-dashboard.json");
const [first, authority] = [await issueServer("first"), await issueCa("clients")];
const DAY_S = 86_400;

interface Panel {
  readonly id: number;
  readonly targets: readonly { readonly expr: string }[];
}
const panels: readonly Panel[] = JSON.parse(DASHBOARD).panels;
const expressions = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));

/** The names and labels of every metric that a reloader can have. */
async function allMetrics(): Promise<string> {
  const config = configOf(first, { clientAuth: { mode: "required", ca: authority.cert, crl: makeCrl(authority) } });
  const reloader = new Reloader(new TlsState(config), () => Promise.resolve(config));
  reloader.addEventListener("expiring", (event) => event.preventDefault());
  await reloader.reload();
  const looked = nextEvent(reloader, "unchanged");
  await withFiles(async (files) => {
    reloader.watch([await files.write("cert", "")]);
    reloader.follow(async function* () {
      yield await Promise.resolve();
    });
    await looked;
  });
  const metrics = reloader.metrics();
  await reloader.close();
  return metrics;
}

/** What promtool says of a file. */
async function promtool(args: readonly string[], name: string, text: string): Promise<void> {
  await withFiles(async (files) => {
    await files.write("alert-rules.yml", RULES);
    const path = await files.write(name, text);
    const { status, stdout, stderr } = spawnSync("promtool", [...args, path], { encoding: "utf8" });
    assertEquals(status, 0, stdout + stderr);
  });
}

test("alert-rules.yml and grafana-dashboard.json name only metrics and labels that metrics() has", async () => {
  const metrics = await allMetrics();
  const names = new Set(metrics.match(/(?<=^# TYPE )\w+/gm));
  const labels = new Set(["job", "instance", ...metrics.match(/\w+(?==")/g)!]);
  for (
    const [file, text] of [["alert-rules.yml", RULES], ["grafana-dashboard.json", expressions.join("\n")]] as const
  ) {
    const used = text.match(/\btls_reload_\w+/g) ?? [];
    assert(used.length >= 9, file);
    for (const name of used) assert(names.has(name), `${file}: ${name}`);
    const groups = [...text.matchAll(/\bby \(([^)]*)\)|\{(\w+)[!=]|\$labels\.(\w+)/g)];
    assert(groups.length > 0, file);
    for (const label of groups.flatMap(([, ...found]) => found.join("").split(", "))) {
      assert(labels.has(label), `${file}: label ${label}`);
    }
  }
});

test("grafana-dashboard.json has panels with ids of their own, and expressions that promtool accepts", {
  skip: NO_PROMTOOL,
}, async () => {
  assertEquals(new Set(panels.map(({ id }) => id)).size, panels.length);
  const rules = expressions.map((expr) => ({ record: "panel", expr: expr.replaceAll("$__rate_interval", "5m") }));
  const distinct = rules.map((rule, index) => ({ ...rule, record: `panel_${index}` }));
  await promtool(["check", "rules"], "panels.yml", JSON.stringify({ groups: [{ name: "panels", rules: distinct }] }));
});

/** Which alert a series of one process raises, after an hour of it. Prometheus begins its tests at time 0. */
const CASES: readonly (readonly [alert: string, series: Readonly<Record<string, number>>])[] = [
  ["TlsCertificateExpired", { certificate_not_after_timestamp_seconds: 1_800 }],
  ["TlsCertificateExpiring", {
    certificate_not_before_timestamp_seconds: -81 * DAY_S,
    certificate_not_after_timestamp_seconds: 9 * DAY_S,
  }],
  ["TlsAuthorityExpiring", { 'used_certificate_not_after_timestamp_seconds{role="client authority"}': 10 * DAY_S }],
  ["TlsRevocationListStale", { crl_next_update_timestamp_seconds: 5_000 }],
  ["TlsReloadFails", { last_reload_successful: 0 }],
  ["TlsReloadPartlyFails", { partial_failures: 1 }],
  ["TlsReloadOutOfSync", { in_sync: 0 }],
  ["TlsReloadDegraded", { watch_degraded: 1 }],
  ["TlsReloadStalled", { watch_checked_timestamp_seconds: 60 }],
  ["TlsReloadDisconnected", { stream_connected: 0 }],
  ["TlsReloadFleetDiverges", {
    'config_info{config_digest="a",instance="1"}': 1,
    'config_info{config_digest="b",instance="2"}': 1,
  }],
];

/** A healthy process, two thirds into the life of its certificate. */
const HEALTHY: Readonly<Record<string, number>> = {
  certificate_not_before_timestamp_seconds: -60 * DAY_S,
  certificate_not_after_timestamp_seconds: 30 * DAY_S,
  'used_certificate_not_after_timestamp_seconds{role="server"}': 10 * DAY_S,
  'used_certificate_not_after_timestamp_seconds{role="intermediate"}': 100 * DAY_S,
  crl_next_update_timestamp_seconds: 2 * DAY_S,
  last_reload_successful: 1,
  partial_failures: 0,
  in_sync: 1,
  watch_degraded: 0,
  watch_checked_timestamp_seconds: 3_590,
  stream_connected: 1,
  'config_info{config_digest="a",instance="1"}': 1,
  'config_info{config_digest="a",instance="2"}': 1,
};

test("alert-rules.yml raises each alert for what it names, and none for a healthy fleet", {
  skip: NO_PROMTOOL,
}, async () => {
  const alerts = RULES.match(/(?<=- alert: )\w+/g)!;
  assertEquals(CASES.map(([alert]) => alert), alerts);
  const seriesOf = (series: Readonly<Record<string, number>>) =>
    Object.entries(series).map(([name, value]) => ({ series: `tls_reload_${name}`, values: `${value}+0x90` }));
  const tests = [
    ...CASES.map(([alert, series]) => ({ series, raised: [alert] })),
    { series: HEALTHY, raised: [] as string[] },
  ].map(({ series, raised }) => ({
    interval: "1m",
    input_series: seriesOf(series),
    promql_expr_test: alerts.map((alertname) => ({
      expr: `count(ALERTS{alertname="${alertname}",alertstate="firing"})`,
      eval_time: "61m",
      exp_samples: raised.includes(alertname) ? [{ labels: "{}", value: 1 }] : [],
    })),
  }));
  await promtool(["test", "rules"], "tests.yml", JSON.stringify({ rule_files: ["alert-rules.yml"], tests }));
});
