import type { TlsState } from "../accept/tls_state.ts";
import type { ReloadAttempts } from "./attempts.ts";
import type { ReloaderStatus } from "./status.ts";
import type { Triggers } from "./triggers.ts";

/** The status of a reloader, read now. */
export function statusOf(state: TlsState, attempts: ReloadAttempts, triggers: Triggers): ReloaderStatus {
  const { leaf } = state.current();
  const { notBefore, notAfter } = leaf;
  const { lastAttempt, lastSuccess, lastSwap, lastError, failuresInARow, counts } = attempts.history;
  const { pending } = attempts;
  const watches = [...attempts.watches];
  const hasRead = lastAttempt !== undefined || watches.some(({ status }) => status.checkedAt !== undefined);
  const inSync = attempts.isLoadedServed && failuresInARow === 0 && watches.every(({ isLoaded }) => isLoaded);
  return {
    generation: state.generation,
    fingerprint256: leaf.fingerprint256,
    names: [...leaf.dnsNames, ...leaf.ipAddresses],
    notBefore,
    notAfter,
    secondsLeft: Math.floor((notAfter.getTime() - Date.now()) / 1000),
    lastAttempt,
    lastSuccess,
    lastSwap,
    lastError,
    failuresInARow,
    reloads: { ...counts },
    inSync: hasRead ? inSync : undefined,
    pending: pending && { fingerprint256: pending.config.leaf.fingerprint256, validFrom: pending.validFrom },
    watches: watches.map(({ status }) => status),
    streams: triggers.streams,
  };
}
