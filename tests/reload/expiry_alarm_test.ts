import { assertEquals } from "@std/assert";
import test from "node:test";
import type { Certificate } from "../../src/x509/certificate.ts";
import { ExpiryAlarm } from "../../src/reload/expiry_alarm.ts";
import { until } from "../support/tcp.ts";

const MINUTE_MS = 60_000;
const now = Date.now;

/** How often it has been warned of a certificate that lives from minute 0 to 60, when the clock has shown each minute. */
async function warned(...minutes: readonly number[]): Promise<readonly number[]> {
  const notBefore = new Date(now());
  const notAfter = new Date(notBefore.getTime() + 60 * MINUTE_MS);
  let [looks, count] = [0, 0];
  const certificate = {
    notBefore,
    get notAfter() {
      looks++;
      return notAfter;
    },
  } as Certificate;
  const alarm = new ExpiryAlarm(() => count++, 1);
  alarm.set(certificate);
  const counts: number[] = [];
  for (const minute of minutes) {
    Date.now = () => notBefore.getTime() + minute * MINUTE_MS;
    const before = looks;
    await until(() => looks >= before + 2);
    counts.push(count);
  }
  Date.now = now;
  alarm.close();
  return counts;
}

for (
  const [title, minutes, counts] of [
    ["once at a third and once at a tenth of its life", [0, 39, 41, 53, 55, 59, 61], [0, 0, 1, 1, 2, 2, 2]],
    ["once of both, where the machine slept", [0, 59, 61], [0, 1, 1]],
    ["at the right time, where the clock was behind at first", [-50, 39, 41, 55], [0, 0, 1, 2]],
    ["again at the right time, where the clock was ahead at first", [61, 10, 41, 55], [1, 1, 2, 3]],
  ] as const
) {
  test(`ExpiryAlarm warns ${title}`, async () => assertEquals(await warned(...minutes), counts));
}

test("ExpiryAlarm warns of no certificate but the last one", async () => {
  const told: string[] = [];
  const alarm = new ExpiryAlarm(({ fingerprint256 }) => told.push(fingerprint256), 1);
  for (const fingerprint256 of ["first", "second"]) {
    alarm.set({ fingerprint256, notBefore: new Date(0), notAfter: new Date(1) } as Certificate);
  }
  await until(() => told.length > 0);
  alarm.close();
  assertEquals(told, ["second"]);
});
