import { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import { TlsReloadError } from "../errors.ts";
import { type ClientHello, parseClientHello } from "./client_hello.ts";
import { failure } from "./handshake_failure.ts";

/** Where the reading of a ClientHello ends. One of the two is called at most once, in the same turn as the event. */
export interface HelloOutcome {
  /** The hello is complete. */
  succeed(hello: ClientHello): void;
  /** The peer ends the connection or sends something else: `HANDSHAKE_FAILED`. */
  fail(error: TlsReloadError): void;
}

/**
 * Reads the ClientHello of a connection and puts its bytes back with `unshift()`, so that a TLS server can read them
 * again. Leaves the connection paused and open, because it belongs to the caller, who also handles its errors and its
 * close.
 *
 * @param socket The connection, before its first byte is read.
 * @param outcome Where the reading ends.
 * @returns Stops the reading: a stream that was destroyed may still emit the bytes that it holds.
 */
export function readClientHello(socket: Duplex, outcome: HelloOutcome): () => void {
  let received: Buffer | undefined;
  const stop = () => void socket.off("data", onData).off("end", onEnd);
  // Not "readable", which delays each chunk and each change of its listeners to a later tick.
  const onData = (chunk: Buffer) => {
    received = received ? Buffer.concat([received, chunk]) : chunk;
    const result = parse(received);
    if (!result) return;
    stop();
    socket.pause().unshift(received);
    if (result instanceof TlsReloadError) outcome.fail(result);
    else outcome.succeed(result);
  };
  const onEnd = () => {
    stop();
    outcome.fail(failure("HANDSHAKE_FAILED", "the peer closed the connection"));
  };
  socket.on("data", onData).on("end", onEnd).resume();
  return stop;
}

function parse(received: Buffer): ClientHello | TlsReloadError | undefined {
  try {
    return parseClientHello(received);
  } catch (error) {
    return failure("HANDSHAKE_FAILED", (error as Error).message, error);
  }
}
