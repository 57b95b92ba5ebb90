import { durationText } from "../durations.ts";
import type { Certificate } from "../x509/certificate.ts";
import type { ExpiryAlarm } from "./expiry_alarms.ts";
import type { WatchStatus } from "./status.ts";

/** Renewal tools replace a certificate when two thirds of its life have passed. */
const RENEWAL_SHARE = 2 / 3;
/** The maximum number of files that a message names. */
const MAX_PATHS = 4;

/** Writes the text of an alarm: what ends and when, what has not come, and the last changes of its source. */
export function expiryMessage(alarm: ExpiryAlarm, watches: readonly WatchStatus[], lastSwap: Date | undefined): string {
  const source = [...watches.map(changes), lastSwap && `the last swap was at ${lastSwap.toISOString()}`];
  return [textOf(alarm), ...source.filter((each) => each !== undefined)].join("; ");
}

function textOf(alarm: ExpiryAlarm): string {
  const { remainingMs } = alarm;
  if (alarm.role === "revocation list") {
    const { issuer, nextUpdate } = alarm.revocationList;
    const time = remainingMs <= 0
      ? `became stale ${durationText(-remainingMs)} ago`
      : `becomes stale in ${durationText(remainingMs)}`;
    return `The revocation list of "${issuer}" ${time}, at ${nextUpdate!.toISOString()}: no newer one has come; from ` +
      "then on its clients are refused, unless 'staleCrl' accepts them, and Bun.serve refuses every client";
  }
  const { role, certificate } = alarm;
  const { subject, notAfter } = certificate;
  const verb = remainingMs <= 0
    ? `expired ${durationText(-remainingMs)} ago`
    : `expires in ${durationText(remainingMs)}`;
  const time = `${verb}, at ${notAfter.toISOString()}`;
  switch (role) {
    case "server":
      return `The certificate for ${namesOf(certificate)} ${time}: its renewal was due at ${
        dueOf(certificate)
      } and has ` +
        "not come";
    case "intermediate":
      return `The intermediate certificate "${subject}" ${time}: no chain with another one has come`;
    case "client authority":
      return `The client authority "${subject}" ${time}: clients whose certificates it issued are refused from then on; ` +
        "add the authority that follows it to the client CA file";
    case "client intermediate":
      return `The intermediate certificate "${subject}" ${time}: clients whose certificates it issued are refused from ` +
        "then on; add the one that follows it to 'clientAuth.intermediates'";
  }
}

function namesOf({ dnsNames, ipAddresses, subject }: Certificate): string {
  return [...dnsNames, ...ipAddresses].join(", ") || subject;
}

function dueOf({ notBefore, notAfter }: Certificate): string {
  const [begin, end] = [notBefore.getTime(), notAfter.getTime()];
  return new Date(begin + (end - begin) * RENEWAL_SHARE).toISOString();
}

function changes({ paths, changedAt }: WatchStatus): string {
  const named = paths.slice(0, MAX_PATHS).map((path) => `"${path}"`).join(", ");
  const names = paths.length > MAX_PATHS ? `${named} and ${paths.length - MAX_PATHS} more` : named;
  // Before the first reading, and while all files are missing.
  if (changedAt === undefined) return `its source is ${names}`;
  return `${names} last changed at ${changedAt.toISOString()}`;
}
