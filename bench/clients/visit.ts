// One request on a connection of its own.
import type { SecureContext } from "node:tls";
import { HttpConnection } from "../../tests/support/http.ts";

const TIMEOUT_MS = 5_000;

/**
 * @param onServed Called after the handshake, with the fingerprint of the certificate.
 * @returns Milliseconds from the begin of the connection to the head of the response.
 */
export async function visit(
  port: number,
  secureContext: SecureContext,
  onServed: (fingerprint256: string) => void = () => {},
): Promise<number> {
  const start = performance.now();
  const connection = await inTime(HttpConnection.open(port, { servername: "localhost", secureContext }));
  onServed(connection.fingerprint256);
  try {
    connection.send("/");
    const { headers } = await inTime(connection.head());
    const firstByteMs = performance.now() - start;
    const body = connection.body(headers);
    while (!(await inTime(body.next())).done);
    return firstByteMs;
  } finally {
    connection.close();
  }
}

/** Rejects when a server lets a client wait too long. */
export function inTime<T>(promise: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error("not in time")), TIMEOUT_MS);
  return Promise.race([promise, late.promise]).finally(() => clearTimeout(timer));
}
