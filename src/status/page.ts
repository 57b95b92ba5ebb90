import type { CertificateStatus, FollowStatus, ReloaderStatus, WatchStatus } from "../reload/status.ts";

/** Text that is safe in HTML. */
class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Value = Html | readonly Html[] | string | number | Date | undefined;

const STYLE = `
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 64rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin: 2rem 0 .5rem; font-size: 1.1rem }
table { border-collapse: collapse; width: 100%; margin-bottom: 1rem }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; overflow-wrap: anywhere }
th { white-space: nowrap }
code { font-size: .85em }
.good { color: #2e7d32; font-weight: 600 }
.bad { color: #c62828; font-weight: 600 }
.life { height: .6rem; margin: .3rem 0; border-radius: .3rem; overflow: hidden; background: #8883 }
.life i { display: block; height: 100%; background: #2e7d32 }
.life .late { background: #ef6c00 }
.life .over { background: #c62828 }
`;
const DAY_S = 86_400;
/** A certificate is late when a fifth of its life remains, at the first alarm. */
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
${status.certificates.map(lifeOf)}<h2>Reloads</h2>
${reloadsOf(status)}<h2>Sources</h2>
${status.watches.map(watchOf)}${status.streams.map(streamOf)}</body></html>
`;
  return page.text;
}

function summaryOf({ secondsLeft, inSync, generation }: ReloaderStatus): Html {
  if (secondsLeft < 0) return markup`<span class="bad">The certificate has expired</span>`;
  if (inSync === false) return markup`<span class="bad">What is served is not what the source holds</span>`;
  return markup`<span class="good">Serving generation ${generation}</span>, ${
    Math.floor(secondsLeft / DAY_S)
  } days left`;
}

/** A bar for the life of a certificate, filled up to now. */
function lifeOf({ role, subject, names, serialNumber, notBefore, notAfter }: CertificateStatus): Html {
  const lived = (Date.now() - notBefore.getTime()) / (notAfter.getTime() - notBefore.getTime());
  const percent = Math.round(100 * Math.min(Math.max(lived, 0), 1));
  const name = role === "server" && names.length > 0 ? names.join(", ") : subject;
  return markup`<p><b>${role}</b> ${name} <code>${serialNumber}</code><br>${notBefore} to ${notAfter}</p>
<div class="life" title="${percent} %"><i class="${phaseOf(lived)}" style="width:${percent}%"></i></div>
`;
}

function phaseOf(lived: number): string {
  if (lived >= 1) return "over";
  return lived >= LATE_SHARE ? "late" : "";
}

function reloadsOf({ lastError, pending, ...status }: ReloaderStatus): Html {
  return table([
    ["Generation", status.generation],
    ["Swapped, unchanged, pending, rejected", Object.values(status.reloads).join(", ")],
    ["Last attempt", status.lastAttempt],
    ["Last success", status.lastSuccess],
    ["Last swap", status.lastSwap],
    ["Last failure", lastError && markup`${lastError.at}: ${lastError.message}`],
    ["Failures in a row", status.failuresInARow],
    ["Pending", pending && markup`<code>${pending.fingerprint256}</code>, valid from ${pending.validFrom}`],
    ["Config digest", markup`<code>${status.configDigest}</code>`],
    ["Trust digest", markup`<code>${status.trustDigest}</code>`],
  ]);
}

function watchOf({ paths, missing, changedAt, checkedAt, degraded }: WatchStatus): Html {
  return table([
    ["Files", markup`<code>${paths.join(" ")}</code>`],
    ["Missing", missing.length > 0 ? markup`<span class="bad">${missing.join(" ")}</span>` : undefined],
    ["Last changed", changedAt],
    ["Last read", checkedAt],
    ["Degraded", degraded && markup`<span class="bad">${degraded}</span>`],
  ]);
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
  return connected ? markup`connected` : markup`<span class="bad">disconnected</span>`;
}

/** Rows without a value are left out. */
function table(rows: readonly (readonly [name: string, value: Value])[]): Html {
  const known = rows.filter(([, value]) => value !== undefined);
  const lines = known.map(([name, value]) => markup`<tr><th>${name}</th><td>${value}</td></tr>`);
  return markup`<table>${lines}</table>
`;
}

/** Escapes every value that is not HTML already. */
function markup(parts: TemplateStringsArray, ...values: readonly Value[]): Html {
  return new Html(parts.reduce((text, part, index) => text + textOf(values[index - 1]) + part));
}

function textOf(value: Value): string {
  if (value instanceof Html) return value.text;
  if (Array.isArray(value)) return value.map((each: Html) => each.text).join("");
  const text = value instanceof Date ? value.toISOString() : String(value ?? "");
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
