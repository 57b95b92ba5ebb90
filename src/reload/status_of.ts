import { allGenerations, sharedBy, type TlsState } from "../accept/tls_state.ts";
import type { ReloadAttempts } from "./attempts.ts";
import type { CertificateStatus, ReloaderStatus } from "./status.ts";
import type { Triggers } from "./triggers.ts";
import { type UsedCertificate, usedCertificates } from "./used_certificates.ts";

/** The status of a reloader, read now. */
export function statusOf(state: TlsState, attempts: ReloadAttempts, triggers: Triggers): ReloaderStatus {
  const config = state.current();
  const { leaf } = config;
  const { notBefore, notAfter } = leaf;
  const { lastAttempt, lastSuccess, lastSwap, lastError, failuresInARow, counts } = attempts.history;
  const { pending, partialFailures } = attempts;
  const watches = [...attempts.watches];
  const hasRead = lastAttempt !== undefined || watches.some(({ status }) => status.checkedAt !== undefined);
  const inSync = attempts.isLoadedServed && failuresInARow === 0 && partialFailures.isEmpty &&
    watches.every(({ isLoaded }) => isLoaded);
  return {
    generation: state.generation,
    configDigest: config.configDigest,
    trustDigest: config.trustDigest,
    fingerprint256: leaf.fingerprint256,
    serialNumber: leaf.serialNumber,
    names: [...leaf.dnsNames, ...leaf.ipAddresses],
    notBefore,
    notAfter,
    secondsLeft: Math.floor((notAfter.getTime() - Date.now()) / 1000),
    lastAttempt,
    lastSuccess,
    lastSwap,
    lastError,
    partialFailures: partialFailures.list,
    failuresInARow,
    reloads: { ...counts },
    inSync: hasRead ? inSync : undefined,
    certificates: usedCertificates(config).map(certificateStatus),
    authorities: state.authorities(),
    generations: allGenerations(state),
    drain: sharedBy(state).drainTally.status,
    revocationLists: config.clientAuth?.crl ?? [],
    pending: pending && { fingerprint256: pending.config.leaf.fingerprint256, validFrom: pending.validFrom },
    watches: watches.map(({ status }) => status),
    streams: triggers.streams,
  };
}

function certificateStatus({ role, certificate }: UsedCertificate): CertificateStatus {
  const { subject, dnsNames, ipAddresses, serialNumber, fingerprint256, notBefore, notAfter } = certificate;
  return { role, subject, names: [...dnsNames, ...ipAddresses], serialNumber, fingerprint256, notBefore, notAfter };
}
