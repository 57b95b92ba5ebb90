import { kindOf } from "../arguments.ts";
import { messageOf } from "../warnings.ts";
import type { Change, SwapChanges } from "./changes.ts";
import type { EventDetails } from "./events.ts";

/** A logger: `console`, a logger of pino, of LogTape, and many others. */
export interface Logger {
  /** Logs details for an investigation. */
  debug(message: string): unknown;
  /** Logs a success. */
  info(message: string): unknown;
  /** Logs an event that needs attention soon. */
  warn(message: string): unknown;
  /** Logs a failure. */
  error(message: string): unknown;
}

const METHODS = ["debug", "info", "warn", "error"];

/** Refuses an option that is not a logger with a `TypeError`. */
export function requireLogger(logger: Logger): void {
  const methods = Object(logger) as Readonly<Record<string, unknown>>;
  if (METHODS.every((name) => typeof methods[name] === "function")) return;
  throw new TypeError(`Cannot call Reloader: 'logger' must have the methods ${METHODS.join(", ")}: ${kindOf(logger)}`);
}

type Value = string | number | Date | undefined;

const LEVELS = {
  swap: "info",
  unchanged: "debug",
  pending: "warn",
  reject: "error",
  partial: "error",
  expiring: "warn",
  degraded: "warn",
  disconnect: "warn",
  drain: "info",
} as const;

/** The fields of an event that are logged. */
const FIELDS: {
  readonly [Type in keyof EventDetails]: (detail: EventDetails[Type]) => Readonly<Record<string, Value>>;
} = {
  swap: ({ config: { leaf }, previous, changes }) => ({
    names: [...leaf.dnsNames, ...leaf.ipAddresses].join(),
    fingerprint256: leaf.fingerprint256,
    notAfter: leaf.notAfter,
    previousNotAfter: previous.leaf.notAfter,
    ...changeFields(changes),
  }),
  unchanged: ({ config: { leaf } }) => ({ fingerprint256: leaf.fingerprint256 }),
  pending: ({ config: { leaf }, validFrom }) => ({ fingerprint256: leaf.fingerprint256, validFrom }),
  reject: ({ error }) => ({ code: codeOf(error), error: messageOf(error) }),
  partial: ({ error }) => ({ code: codeOf(error), error: messageOf(error) }),
  expiring: ({ level, message }) => ({ level, message }),
  degraded: ({ message }) => ({ message }),
  disconnect: ({ error, retryMs }) => ({
    error: error === undefined ? "the stream has ended" : messageOf(error),
    retryMs: Math.round(retryMs),
  }),
  drain: ({ phase, connections, forced, untrusted }) => ({
    phase,
    connections,
    ...(phase === "ended" && { forced, untrusted }),
  }),
};

/**
 * Logs an event as one line: `tls-reload swap names=example.com fingerprint256=… notAfter=2027-01-01T00:00:00.000Z`.
 * A logger that throws does not disturb the reloader.
 */
export function logEvent<Type extends keyof EventDetails>(
  logger: Logger,
  type: Type,
  detail: EventDetails[Type],
): void {
  const fields = Object.entries(FIELDS[type](detail)).filter(([, value]) => value !== undefined);
  const line = ["tls-reload", type, ...fields.map(([name, value]) => `${name}=${textOf(value)}`)].join(" ");
  try {
    logger[LEVELS[type]](line);
  } catch {
    // A logger that throws must not change the outcome of a reload.
  }
}

/** Quotes a value that is not one word. Replaces braces and percent signs, which are placeholders of some loggers. */
function textOf(value: Value): string {
  const text = value instanceof Date ? value.toISOString() : String(value);
  return (/^[\w.:,*-]+$/.test(text) ? text : JSON.stringify(text)).replace(/[{}%]/g, "_");
}

/** Such as `namesAdded=a.example namesRemoved=b.example`; nothing at a plain renewal. */
function changeFields(changes: SwapChanges): Record<string, string> {
  const fields = Object.entries(changes).flatMap(([name, { added, removed }]: [string, Change]) =>
    [
      [`${name}Added`, added],
      [`${name}Removed`, removed],
    ] as const
  );
  return Object.fromEntries(
    fields.filter(([, values]) => values.length > 0).map(([name, values]) => [name, values.join()]),
  );
}

/** The code of an error; `undefined` if a value without a code was thrown. */
export function codeOf(error: unknown): string | undefined {
  try {
    const { code } = Object(error);
    return typeof code === "string" ? code : undefined;
  } catch {
    return undefined;
  }
}
