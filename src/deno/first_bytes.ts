import { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";

/**
 * Waits for the first bytes of a connection, until they tell whether the connection begins with a text.
 *
 * @param socket The connection. It is paused afterwards.
 * @param text The text.
 * @returns The bytes, which are taken from the connection; at least one. Rejects if the connection ends before.
 */
export function firstBytes(socket: Duplex, text: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let bytes: Buffer = Buffer.alloc(0);
    const settle = (end: () => void) => {
      socket.off("data", onData).off("end", onEnd).off("close", onEnd).pause();
      end();
    };
    const onEnd = () => settle(() => reject(new Error("the connection ended before its first bytes")));
    const onData = (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      const isUndecided = bytes.length < text.length && bytes.equals(text.subarray(0, bytes.length));
      if (!isUndecided) settle(() => resolve(bytes));
    };
    socket.on("data", onData).on("end", onEnd).on("close", onEnd);
    if (socket.destroyed) onEnd();
  });
}
