import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import test from "node:test";
import { encodePem, parsePem, type TlsConfig, TlsState } from "../../mod.ts";
import { Reloader } from "../../src/reload.ts";
import { type ExpiryAlarm, ExpiryAlarms, type ExpiryLevels } from "../../src/reload/expiry_alarms.ts";
import { expiryMessage } from "../../src/reload/expiry_message.ts";
import { issueCa, type Issued, issueServer } from "../support/certificates.ts";
import { makeCrl } from "../support/crls.ts";
import { configOf } from "../support/peers.ts";
import { until } from "../support/tcp.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const realNow = Date.now;
/** A whole second, as the times of certificates are. */
const START = Math.floor(realNow() / 1000) * 1000;

/** Runs with a clock that a test sets, in milliseconds since the start. */
function withClock<T>(body: (setClock: (ms: number) => void) => T): T {
  try {
    return body((ms) => {
      Date.now = () => START + ms;
    });
  } finally {
    Date.now = realNow;
  }
}

const from = (beginMs: number, endMs: number) => ({
  notBefore: new Date(START + beginMs),
  notAfter: new Date(START + endMs),
});

/** Alarms that a test looks at by itself, and those that were raised. */
function alarmsOf(levels: ExpiryLevels = {}) {
  const raised: ExpiryAlarm[] = [];
  const alarms = new ExpiryAlarms(levels, (alarm) => raised.push(alarm));
  return { alarms, raised };
}

const hourlong = configOf(await issueServer("an hour", from(0, HOUR_MS)));

/** How many alarms have been raised of a certificate that lives from minute 0 to 60, at each of these minutes. */
function countsAt(...minutes: readonly number[]): readonly number[] {
  return withClock((setClock) => {
    const { alarms, raised } = alarmsOf();
    alarms.watch(hourlong);
    const counts = minutes.map((minute) => {
      setClock(minute * MINUTE_MS);
      for (let looks = 0; looks < 3; looks++) alarms.look();
      return raised.length;
    });
    alarms.close();
    return counts;
  });
}

for (
  const [title, minutes, counts] of [
    ["once at a fifth, at a tenth and at the end of a life", [0, 47, 49, 53, 55, 59, 61, 90], [0, 0, 1, 1, 2, 2, 3, 3]],
    ["one alarm for all levels that passed while the machine slept", [0, 59, 59, 62, 62], [0, 1, 1, 2, 2]],
    ["at the right time, where the clock was behind at first", [-50, 39, 49, 55], [0, 0, 1, 2]],
    ["again at the right time, where the clock was ahead at first", [61, 10, 49, 55], [1, 1, 2, 3]],
  ] as const
) {
  test(`ExpiryAlarms raises ${title}`, () => assertEquals(countsAt(...minutes), counts));
}

test("ExpiryAlarms raises alarms by itself, of the last configuration only", async () => {
  const [first, second] = [
    configOf(await issueServer("first", from(-HOUR_MS, -1_000))),
    configOf(await issueServer("second", from(-HOUR_MS, -1_000))),
  ];
  const { alarms, raised } = alarmsOf();
  alarms.watch(first);
  alarms.watch(second);
  assertEquals(raised, []);
  await until(() => raised.length > 0);
  alarms.close();
  const [alarm, ...others] = raised;
  assert(alarm?.role === "server" && others.length === 0);
  assertEquals(alarm.certificate.fingerprint256, second.leaf.fingerprint256);
});

test("ExpiryAlarms takes shares and times as levels, and refuses others", () =>
  withClock((setClock) => {
    const { alarms, raised } = alarmsOf({ remainingShares: [0.5], remainingMs: [20 * MINUTE_MS] });
    alarms.watch(hourlong);
    const levels = [29, 31, 39, 41, 61].map((minute) => {
      setClock(minute * MINUTE_MS);
      alarms.look();
      return raised.at(-1)?.level;
    });
    assertEquals(levels, [undefined, 1, 1, 2, 2]);
    alarms.close();
    for (const bad of [NaN, -1, "1" as never]) {
      assertThrows(() => alarmsOf({ remainingShares: [bad] }), TypeError, "number from 0");
      assertThrows(() => alarmsOf({ remainingMs: [bad] }), TypeError, "number from 0");
    }
  }));

test("ExpiryAlarms watches intermediates and client authorities, and raises each level once across renewals", async () => {
  const root = await issueCa("root", from(0, 1_000 * DAY_MS));
  const intermediate = await issueCa("intermediate", { issuer: root, ...from(0, 100 * DAY_MS) });
  const authority = await issueCa("clients", from(0, 50 * DAY_MS));
  const renewals = await Promise.all([0, 1, 2].map((count) => {
    return issueServer("server", { issuer: intermediate, ...from(count * 40 * DAY_MS, (count * 40 + 60) * DAY_MS) });
  }));
  const clientAuth = { mode: "required", ca: authority.cert } as const;
  const configs = renewals.map((issued) => configOf(issued, { clientAuth }));
  const { alarms, raised } = alarmsOf();
  const shown = withClock((setClock) => {
    for (let day = 0; day < 119; day++) {
      setClock(day * DAY_MS);
      if (day % 40 === 0) alarms.watch(configs[day / 40]!);
      alarms.look();
    }
    // A rollback to certificates of which alarms have been raised already.
    alarms.watch(configs[0]!);
    alarms.look();
    alarms.watch(configs[2]!);
    alarms.look();
    return raised.map(({ role, level }) => `${role} ${level}`);
  });
  alarms.close();
  assertEquals(shown, [
    ...["client authority 1", "client authority 2", "client authority 3"],
    ...["intermediate 1", "intermediate 2", "intermediate 3"],
    "server 3", // the first certificate, which had expired by the rollback
  ]);
});

/** A configuration of many client authorities with the same validity. */
async function manyOf(count: number, validity: { notBefore: Date; notAfter: Date }): Promise<TlsConfig> {
  const [certificate] = parsePem((await issueCa("Clients", validity)).cert);
  const authorities = Array.from({ length: count }, (_, index) => {
    // Another signature makes another certificate. Nothing verifies it here.
    const der = Buffer.from(certificate!.der);
    der.writeUInt16BE(index, der.length - 2);
    return encodePem({ label: "CERTIFICATE", der });
  });
  const server = await issueServer("server", from(0, 1_000 * DAY_MS));
  return configOf(server, { clientAuth: { mode: "required", ca: authorities.join("") } });
}

test("ExpiryAlarms raises one alarm for each of thousands of certificates that expire together", async () => {
  const config = await manyOf(1_200, from(0, HOUR_MS));
  withClock((setClock) => {
    const { alarms, raised } = alarmsOf();
    alarms.watch(config);
    setClock(50 * MINUTE_MS);
    for (let looks = 0; looks < 3; looks++) alarms.look();
    alarms.close();
    assertEquals(raised.length, 1_200);
  });
});

test("Reloader announces thousands of certificates that expire together in linear time", async () => {
  const config = await manyOf(1_200, from(-50 * MINUTE_MS, 10 * MINUTE_MS));
  const reloader = new Reloader(new TlsState(config), () => Promise.resolve(config));
  let count = 0;
  let first = Infinity;
  reloader.addEventListener("expiring", (event) => {
    event.preventDefault();
    first = Math.min(first, performance.now());
    count++;
  });
  await until(() => count === 1_200);
  // Quadratic time would be some seconds.
  assert(performance.now() - first < 1_000);
  await reloader.close();
});

test("ExpiryAlarms watches revocation lists and the intermediates of clients", async () => {
  const authority = await issueCa("Clients", from(0, 1_000 * DAY_MS));
  const intermediate = await issueCa("Issuer", { issuer: authority, ...from(0, 10 * DAY_MS) });
  const listFrom = (day: number) => {
    return makeCrl(authority, {
      thisUpdate: new Date(START + day * DAY_MS),
      nextUpdate: new Date(START + (day + 10) * DAY_MS),
    });
  };
  const server = await issueServer("server", from(0, 1_000 * DAY_MS));
  const trust = { mode: "required", ca: authority.cert } as const;
  const configs = [
    configOf(server, { clientAuth: { ...trust, crl: listFrom(0) } }),
    configOf(server, { clientAuth: { ...trust, crl: listFrom(7), intermediates: intermediate.cert } }),
  ];
  const shown = withClock((setClock) => {
    const { alarms, raised } = alarmsOf();
    const messages: string[] = [];
    for (const [day, config] of [[0, 0], [7, 0], [8, 0], [8, 1], [9, 1], [14, 1], [17.5, 1]] as const) {
      setClock(day * DAY_MS);
      alarms.watch(configs[config]!);
      alarms.look();
      messages.push(...raised.splice(0).map((alarm) => `${alarm.level} ${expiryMessage(alarm, [], undefined)}`));
    }
    alarms.close();
    return messages;
  });
  const at = (day: number) => new Date(START + day * DAY_MS).toISOString();
  const refused =
    "from then on its clients are refused, unless 'staleCrl' accepts them, and Bun.serve refuses every client";
  const successor = "clients whose certificates it issued are refused from then on; add the one that follows it to " +
    "'clientAuth.intermediates'";
  assertEquals(shown, [
    `1 The revocation list of "CN=Clients" becomes stale in 2 days, at ${at(10)}: no newer one has come; ${refused}`,
    `1 The intermediate certificate "CN=Issuer" expires in 2 days, at ${at(10)}: ${successor}`,
    `2 The intermediate certificate "CN=Issuer" expires in 1 day, at ${at(10)}: ${successor}`,
    `3 The intermediate certificate "CN=Issuer" expired 4 days ago, at ${at(10)}: ${successor}`,
    `3 The revocation list of "CN=Clients" became stale 12 hours ago, at ${at(17)}: no newer one has come; ${refused}`,
  ]);
});

/** A simulated year of looks each hour, with renewals at a share of the life of a certificate, one of them missed. */
async function yearOf(lifeMs: number, renewedAt: number, missed: number): Promise<readonly string[]> {
  const stepMs = lifeMs * renewedAt;
  const begins = Array.from({ length: Math.ceil(365 * DAY_MS / stepMs) }, (_, index) => index * stepMs);
  const issued: (TlsConfig | undefined)[] = [];
  for (const [index, begin] of begins.entries()) {
    if (index !== missed) issued[index] = configOf(await issueServer("yearly", from(begin, begin + lifeMs)));
  }
  return withClock((setClock) => {
    const { alarms, raised } = alarmsOf();
    const shown: string[] = [];
    let next = 0;
    for (let ms = 0; ms < 365 * DAY_MS; ms += HOUR_MS) {
      setClock(ms);
      for (; next < begins.length && begins[next]! <= ms; next++) {
        const config = issued[next];
        if (config) alarms.watch(config);
      }
      alarms.look();
      for (const { level, remainingMs } of raised.splice(0)) {
        shown.push(`${level} at ${(remainingMs / lifeMs).toFixed(2)}`);
      }
    }
    alarms.close();
    return shown;
  });
}

for (const days of [90, 6]) {
  for (const [title, renewedAt] of [["2/3", 2 / 3], ["1/2", 1 / 2]] as const) {
    test(`ExpiryAlarms is silent for a year of ${days}-day certificates renewed at ${title} of their life`, async () => {
      assertEquals(await yearOf(days * DAY_MS, renewedAt, -1), []);
    });
  }
  test(`ExpiryAlarms raises each level once where one renewal of ${days}-day certificates is missed`, async () => {
    const levels = async (renewedAt: number) => {
      return (await yearOf(days * DAY_MS, renewedAt, 2)).map((each) => each.slice(0, 1));
    };
    // Renewed at 2/3, a certificate expires before the renewal after the missed one. At 0.44 it has 0.12 left then.
    assertEquals(await levels(2 / 3), ["1", "2", "3"]);
    assertEquals(await levels(0.44), ["1"]);
  });
}

test("expiryMessage() says what expires when, what did not come, and where it was expected", async () => {
  const root = await issueCa("Root", from(0, 90 * DAY_MS));
  const intermediate = await issueCa("Intermediate", { issuer: root, ...from(0, 90 * DAY_MS) });
  const server: Issued = await issueServer("server", { issuer: intermediate, ...from(0, 90 * DAY_MS) });
  const config = configOf(server, { clientAuth: { mode: "required", ca: root.cert } });
  const changedAt = new Date(START);
  const watch = { paths: ["/certs/tls.crt", "/certs/tls.key"], missing: [], changedAt, checkedAt: undefined };
  const many = { ...watch, paths: Array.from({ length: 9 }, (_, index) => `/certs/${index}`), degraded: undefined };
  const messages = withClock((setClock) => {
    const { alarms, raised } = alarmsOf();
    alarms.watch(config);
    for (const day of [73, 91]) {
      setClock(day * DAY_MS);
      alarms.look();
    }
    alarms.close();
    const paths = `"/certs/0", "/certs/1", "/certs/2", "/certs/3" and 5 more last changed at`;
    assertStringIncludes(expiryMessage(raised[0]!, [many], changedAt), paths);
    const unread = expiryMessage(raised.at(-1)!, [{ ...watch, changedAt: undefined, degraded: undefined }], undefined);
    assert(unread.endsWith('; its source is "/certs/tls.crt", "/certs/tls.key"'), unread);
    return raised.map((alarm) => expiryMessage(alarm, [{ ...watch, degraded: undefined }], changedAt));
  });
  const [end, due, begin] = [90, 60, 0].map((day) => new Date(START + day * DAY_MS).toISOString());
  const source = `"/certs/tls.crt", "/certs/tls.key" last changed at ${begin}; the last swap was at ${begin}`;
  assertEquals(messages.slice(0, 3), [
    `The certificate for localhost, 127.0.0.1 expires in 17 days, at ${end}: its renewal was due at ${due} and has not ` +
    `come; ${source}`,
    `The intermediate certificate "CN=Intermediate" expires in 17 days, at ${end}: no chain with another one has come; ` +
    source,
    `The client authority "CN=Root" expires in 17 days, at ${end}: clients whose certificates it issued are refused ` +
    `from then on; add the authority that follows it to the client CA file; ${source}`,
  ]);
  assert(messages[3]!.startsWith(`The certificate for localhost, 127.0.0.1 expired 1 day ago, at ${end}: `));
});
