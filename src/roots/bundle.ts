import { location, TlsReloadError } from "../errors.ts";
import { foreignFormat } from "../x509/foreign_format.ts";
import { decodeUtf8, isCertificateLabel, type PemFile } from "../x509/pem.ts";
import { scanPem } from "../x509/pem_scanner.ts";
import { Root, type Roots } from "./root.ts";

/** The format of OpenSSL for a certificate with limits of its trust, which a list of roots cannot express. */
const TRUSTED = "TRUSTED CERTIFICATE";
const CONVERT = "openssl x509 -in FILE -out FILE.pem";
/** A file with more faults is not a damaged bundle but something else. */
const MAX_FAULTS = 1000;

/**
 * Reads the certificates of a bundle by the rules of `parsePem()`, except that a broken section is reported and does
 * not stop the others. Adds the certificates that `roots` does not hold yet.
 *
 * @returns The number of certificates in the bundle, including those that `roots` held before.
 */
export function readBundle(bundle: PemFile, roots: Roots, report: (problem: TlsReloadError) => void): number {
  const { path } = bundle;
  const problem = (reason: string, line?: number) => {
    const where = { path, line };
    report(new TlsReloadError("PEM_INVALID", `Cannot read certificates${location(where)}: ${reason}`, where));
  };
  let [count, faults] = [0, 0];
  const trusted: number[] = [];
  for (const found of scanPem(decodeUtf8(bundle.bytes))) {
    if ("reason" in found) {
      faults++;
      problem(faults > MAX_FAULTS ? "it has too many faults, so the rest is not read" : found.reason, found.line);
      if (faults > MAX_FAULTS) break;
    } else if (isCertificateLabel(found.label)) {
      count++;
      if (!roots.has(found.base64)) roots.set(found.base64, new Root(found.base64, path, count));
    } else if (found.label === TRUSTED) {
      trusted.push(found.line);
    }
  }
  if (trusted.length > 0) {
    problem(`convert each "${TRUSTED}", of which there are ${trusted.length}, with: ${CONVERT}`, trusted[0]);
  }
  // A NUL byte among well-formed sections is harmless.
  const foreign = count + faults + trusted.length === 0 ? foreignFormat(bundle.bytes) : undefined;
  if (foreign) problem(foreign);
  return count;
}
