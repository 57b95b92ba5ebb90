import { durationText } from "../durations.ts";
import type { CertificateStatus, FollowStatus, ReloaderStatus, WatchStatus } from "../reload/status.ts";

/** Text that is safe in HTML. */
class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type AuthorityStatus = ReloaderStatus["authorities"][number];
type RevocationListStatus = ReloaderStatus["revocationLists"][number];
type Value = Html | readonly Html[] | string | number | Date | undefined;

const STYLE = `
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; --good: #2e7d32; --late: #b45309; --bad: #c62828 }
@media (prefers-color-scheme: dark) { :root { --good: #66bb6a; --late: #ffa726; --bad: #ff7b72 } }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; line-height: 1.3; margin-bottom: .5rem; overflow-wrap: anywhere }
h2 { margin: 2rem 0 .5rem; font-size: 1.1rem }
p { margin: .5rem 0 }
table { border-collapse: collapse; width: 100%; margin-bottom: 1rem }
tr { border-top: 1px solid #8883 }
th, td { text-align: left; vertical-align: top; padding: .25rem 0; overflow-wrap: anywhere }
th { width: 9.5rem; padding-right: 1rem; font-weight: 600 }
code { font-size: .85em }
small { opacity: .75 }
.good { color: var(--good); font-weight: 600 }
.late { color: var(--late); font-weight: 600 }
.bad { color: var(--bad); font-weight: 600 }
.life { height: .5rem; margin: .25rem 0 1rem; border-radius: .25rem; overflow: hidden; background: #8883 }
.life i { display: block; height: 100%; background: currentColor }
`;
/** A certificate or list is late when a fifth of its life remains, at the first alarm. */
const LATE_SHARE = 0.8;

/** The status as one HTML page, without scripts and without anything from elsewhere. */
export function statusPage(status: ReloaderStatus): string {
  const title = status.names.join(", ") || "TLS";
  const page = markup`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title>
<style>${new Html(STYLE)}</style></head><body>
<h1>${title}</h1>
<p>${summaryOf(status)}</p>
<h2>Certificates</h2>
${status.certificates.map(lifeOfCertificate)}${status.revocationLists.map(lifeOfList)}${clientsOf(status)}\
<h2>Connections</h2>
${connectionsOf(status)}<h2>Reloads</h2>
${reloadsOf(status)}<h2>Sources</h2>
${status.watches.map(watchOf)}${status.streams.map(streamOf)}</body></html>
`;
  return page.text;
}

function summaryOf({ notAfter, secondsLeft, inSync, generation, watches, streams }: ReloaderStatus): Html {
  if (secondsLeft < 0) return markup`<span class="bad">The certificate has expired</span>`;
  if (inSync === false) return markup`<span class="bad">What is served is not what the source holds</span>`;
  const isLate = watches.some(({ degraded }) => degraded) || streams.some(({ connected }) => connected === false);
  const warning = isLate ? markup`, <span class="late">changes may be noticed late or never</span>` : markup``;
  return markup`<span class="good">Serving generation ${generation}</span>, expires ${sinceNow(notAfter)}${warning}`;
}

function lifeOfCertificate({ role, subject, names, serialNumber, notBefore, notAfter }: CertificateStatus): Html {
  const name = role === "server" && names.length > 0 ? names.join(", ") : subject;
  const detail = markup`serial number <code>${serialNumber}</code>`;
  return lifeOf({ role, name, detail, begin: notBefore, end: notAfter, verbs: ["expires", "expired"] });
}

function lifeOfList({ issuer, crlNumber, size, thisUpdate, nextUpdate, fingerprint256 }: RevocationListStatus): Html {
  const detail = markup`<code>${crlNumber ?? fingerprint256}</code>, ${size} revoked`;
  const life = { role: "revocation list", name: issuer, detail, begin: thisUpdate };
  if (nextUpdate) return lifeOf({ ...life, end: nextUpdate, verbs: ["becomes stale", "became stale"] });
  return markup`<p><b>revocation list</b> ${issuer}<br><small>from ${textOfTime(thisUpdate)}, ${detail}</small></p>
`;
}

/** The validity of a certificate or a revocation list. */
interface Life {
  readonly role: string;
  readonly name: string;
  readonly detail: Html;
  readonly begin: Date;
  readonly end: Date;
  readonly verbs: readonly [present: string, past: string];
}

/** A bar for a validity, filled up to now. */
function lifeOf({ role, name, detail, begin, end, verbs: [present, past] }: Life): Html {
  const lived = (Date.now() - begin.getTime()) / (end.getTime() - begin.getTime());
  const percent = Math.round(100 * Math.min(Math.max(lived, 0), 1));
  const state = lived >= 1 ? `${past} ${sinceNow(end)}` : `${present} ${sinceNow(end)}`;
  const words = lived < 0 ? `valid ${sinceNow(begin)}` : state;
  const colour = colourOf(lived);
  return markup`<p><b>${role}</b> ${name} <span class="${colour}">${words}</span><br>
<small>${textOfTime(begin)} to ${textOfTime(end)}, ${detail}</small></p>
<div class="life ${colour}" title="${percent} %"><i style="width:${percent}%"></i></div>
`;
}

function colourOf(lived: number): string {
  if (lived >= 1) return "bad";
  return lived < 0 || lived >= LATE_SHARE ? "late" : "good";
}

function clientsOf({ authorities }: ReloaderStatus): Html {
  return authorities.length === 0 ? markup`` : markup`<h2>Clients</h2>
${authorities.map(authorityOf)}`;
}

function connectionsOf({ generations, drain: { ending, gently, forced, untrusted } }: ReloaderStatus): Html {
  const isDrained = ending + gently + forced + untrusted > 0;
  const drained =
    `${ending} ending, ${gently} ended gently, ${forced} by force, ${untrusted} disconnected as untrusted`;
  return table([
    ...generations.map(({ generation, connections }) => [`Generation ${generation}`, `${connections} open`] as const),
    ["Drain", isDrained ? drained : undefined],
  ]);
}

function authorityOf({ subject, isCurrent, liveConnections, totalConnections, lastUsed }: AuthorityStatus): Html {
  const trust = isCurrent ? markup`trusted` : markup`<span class="late">no longer trusted</span>`;
  return table([
    ["Authority", markup`${subject}, ${trust}`],
    ["Connections", `${liveConnections} open, ${totalConnections} in all`],
    ["Last used", lastUsed ?? "never since the start"],
  ]);
}

function reloadsOf({ lastError, pending, reloads, partialFailures, ...status }: ReloaderStatus): Html {
  const failed = partialFailures.map(({ message }) => markup`${message}<br>`);
  return table([
    ["Generation", status.generation],
    ["Outcomes", Object.entries(reloads).map(([outcome, count]) => `${count} ${outcome}`).join(", ")],
    ["Last attempt", status.lastAttempt],
    ["Last success", status.lastSuccess],
    ["Last swap", status.lastSwap],
    ["Last failure", lastError && markup`${lastError.at}<br>${lastError.message}`],
    ["Failures in a row", status.failuresInARow],
    ["Not loaded", failed.length > 0 ? markup`<span class="bad">${failed}</span>` : undefined],
    ["Pending", pending && markup`valid from ${pending.validFrom}<br><code>${pending.fingerprint256}</code>`],
    ["Config digest", markup`<code>${status.configDigest}</code>`],
    ["Trust digest", markup`<code>${status.trustDigest}</code>`],
  ]);
}

function watchOf({ paths, missing, changedAt, checkedAt, degraded }: WatchStatus): Html {
  return table([
    ["Files", lines(paths)],
    ["Missing", missing.length > 0 ? markup`<span class="bad">${lines(missing)}</span>` : undefined],
    ["Last changed", changedAt],
    ["Last read", checkedAt],
    ["Degraded", degraded && markup`<span class="bad">${degraded}</span>`],
  ]);
}

function lines(paths: readonly string[]): Html {
  return markup`${paths.map((path) => markup`<code>${path}</code><br>`)}`;
}

function streamOf({ connected, since, items, lastItem, reconnects, lastError }: FollowStatus): Html {
  return table([
    ["Stream", connectionOf(connected)],
    ["Since", since],
    ["Items", items],
    ["Last item", lastItem],
    ["Reconnects", reconnects],
    ["Last error", lastError],
  ]);
}

function connectionOf(connected: boolean | undefined): Html {
  if (connected === undefined) return markup`subscribed, no item yet`;
  return connected ? markup`<span class="good">connected</span>` : markup`<span class="bad">disconnected</span>`;
}

/** A time in words that need no clock: `in 50 days`, `3 hours ago`. */
function sinceNow(time: Date): string {
  const ms = time.getTime() - Date.now();
  const duration = durationText(Math.abs(ms));
  return ms < 0 ? `${duration} ago` : `in ${duration}`;
}

function textOfTime(time: Date): string {
  return `${time.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** Rows without a value are left out. */
function table(rows: readonly (readonly [name: string, value: Value])[]): Html {
  const known = rows.filter(([, value]) => value !== undefined);
  const cells = known.map(([name, value]) => markup`<tr><th scope="row">${name}</th><td>${value}</td></tr>`);
  return markup`<table>${cells}</table>
`;
}

/** Escapes every value that is not HTML already. */
function markup(parts: TemplateStringsArray, ...values: readonly Value[]): Html {
  return new Html(parts.reduce((text, part, index) => text + textOf(values[index - 1]) + part));
}

function textOf(value: Value): string {
  if (value instanceof Html) return value.text;
  if (Array.isArray(value)) return value.map((each: Html) => each.text).join("");
  const text = value instanceof Date ? `${textOfTime(value)}, ${sinceNow(value)}` : String(value ?? "");
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
