import { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import { TlsReloadError } from "../errors.ts";
import { type ClientHello, parseClientHello } from "./client_hello.ts";

/**
 * Reads the ClientHello of a connection and puts its bytes back with `unshift()`, so that a TLS server can read them
 * again. Never closes the connection, because it belongs to the caller.
 *
 * @param socket The connection, before its first byte is read.
 * @param signal Stops the reading, for example at a time limit.
 * @returns The hello, once it is complete.
 * @throws {TlsReloadError} `HANDSHAKE_FAILED` if the peer closes the connection or sends something else; the reason of
 * the signal if it is aborted.
 */
export function readClientHello(socket: Duplex, signal?: AbortSignal): Promise<ClientHello> {
  return new Promise((resolve, reject) => {
    let received: Buffer = Buffer.alloc(0);
    const end = (settle: () => void) => {
      socket.off("readable", onReadable).off("error", onError).off("end", onClose).off("close", onClose);
      signal?.removeEventListener("abort", onAbort);
      if (received.length > 0 && !socket.destroyed && !socket.readableEnded) socket.unshift(received);
      settle();
    };
    const fail = (reason: string, cause?: unknown) => {
      const error = new TlsReloadError("HANDSHAKE_FAILED", `Cannot accept connection: ${reason}`, { cause });
      end(() => reject(error));
    };
    const onReadable = () => {
      try {
        for (let chunk: Buffer | null; (chunk = socket.read()) !== null;) {
          received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
          const hello = parseClientHello(received);
          if (hello) return end(() => resolve(hello));
        }
      } catch (error) {
        fail((error as Error).message, error);
      }
    };
    const onError = (error: Error) => fail("the connection failed", error);
    const onClose = () => fail("the peer closed the connection", socket.errored ?? undefined);
    const onAbort = () => end(() => reject(signal?.reason));

    signal?.addEventListener("abort", onAbort);
    if (signal?.aborted) return onAbort();
    if (socket.destroyed || socket.readableEnded) return onClose();
    socket.on("readable", onReadable).on("error", onError).on("end", onClose).on("close", onClose);
  });
}
