import { durationText } from "../durations.ts";
import type { ExpiryAlarm } from "./expiry_alarms.ts";
import type { WatchStatus } from "./status.ts";

/** Renewal tools replace a certificate when two thirds of its life have passed. */
const RENEWAL_SHARE = 2 / 3;

/**
 * Writes the text of an alarm: the certificate, its expiry, the missing renewal, and the last changes of its source.
 *
 * @param alarm The alarm.
 * @param watches The watched files.
 * @param lastSwap The time of the last swap.
 */
export function expiryMessage(alarm: ExpiryAlarm, watches: readonly WatchStatus[], lastSwap: Date | undefined): string {
  const { role, certificate, remainingMs } = alarm;
  const verb = remainingMs <= 0
    ? `expired ${durationText(-remainingMs)} ago`
    : `expires in ${durationText(remainingMs)}`;
  const time = `${verb}, at ${certificate.notAfter.toISOString()}`;
  if (role === "client authority") {
    return `The client authority "${certificate.subject}" ${time}: clients whose certificates it issued are refused ` +
      "from then on; add the authority that follows it to the client CA file";
  }
  const source = [...watches.map(changes), lastSwap && `the last swap was at ${lastSwap.toISOString()}`];
  const lastChanges = source.filter((each) => each !== undefined).map((each) => `; ${each}`).join("");
  if (role === "intermediate") {
    return `The intermediate certificate "${certificate.subject}" ${time}: no chain with another one has come${lastChanges}`;
  }
  const names = [...certificate.dnsNames, ...certificate.ipAddresses].join(", ") || certificate.subject;
  const [begin, end] = [certificate.notBefore.getTime(), certificate.notAfter.getTime()];
  const due = new Date(begin + (end - begin) * RENEWAL_SHARE).toISOString();
  return `The certificate for ${names} ${time}: its renewal was due at ${due} and has not come${lastChanges}`;
}

function changes({ paths, changedAt }: WatchStatus): string {
  const names = paths.map((path) => `"${path}"`).join(", ");
  return `${names} last changed ${changedAt ? `at ${changedAt.toISOString()}` : "at an unknown time"}`;
}
