// Certificates of the SPIFFE Workload API, from the agent of SPIRE and others: a gRPC stream over a unix socket. Each
// message holds the certificate, the key and the authorities of the trust domain, so both sides are swapped at once.
import { Buffer } from "node:buffer";
import { connect } from "node:http2";
import { connect as connectSocket } from "node:net";
import { TlsConfig } from "@x/tls-reload";

/** The first identity of a response: chain and bundle are DER certificates, one after the other. */
interface Svid {
  readonly chain: Buffer;
  readonly key: Buffer;
  readonly bundle: Buffer;
}

/** The Workload API: `new Reloader(state, load).follow(source.svids, { toConfig: source.toConfig })`. */
export function spiffeSource(socketPath: string) {
  async function* svids(signal: AbortSignal): AsyncGenerator<Svid> {
    const session = connect("http://localhost", { createConnection: () => connectSocket(socketPath) });
    try {
      const stream = session.request({
        ":method": "POST",
        ":path": "/SpiffeWorkloadAPI/FetchX509SVID",
        "content-type": "application/grpc",
        "te": "trailers",
        "workload.spiffe.io": "true",
      });
      session.on("error", (error) => stream.destroy(error));
      stream.on("trailers", ({ "grpc-status": status, "grpc-message": message }) => {
        if (Number(status) !== 0) stream.destroy(new Error(`SPIFFE answers ${status}: ${message}`));
      });
      signal.addEventListener("abort", () => session.destroy());
      stream.end(Buffer.alloc(5)); // an empty message
      let rest = Buffer.alloc(0);
      for await (const chunk of stream) {
        rest = Buffer.concat([rest, chunk]);
        // A flag, the length in 4 bytes, the message.
        while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
          const end = 5 + rest.readUInt32BE(1);
          const svid = fields(fields(rest.subarray(5, end)).get(1)!);
          yield { chain: svid.get(2)!, key: svid.get(3)!, bundle: svid.get(4)! };
          rest = rest.subarray(end);
        }
      }
    } finally {
      session.destroy();
    }
  }

  const toConfig = ({ chain, key, bundle }: Svid) =>
    new TlsConfig({ cert: toPem(chain), key, clientAuth: { mode: "required", ca: toPem(bundle) } });
  return { svids, toConfig };
}

/** The fields of a message of protobuf, all of which are bytes or text here. Of repeated ones the first. */
function fields(message: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  let at = 0;
  const varint = (value = 0, shift = 0): number => {
    const byte = message[at++]!;
    const next = value + (byte & 0x7f) * 2 ** shift;
    return byte < 0x80 ? next : varint(next, shift + 7);
  };
  while (at < message.length) {
    const number = varint() >> 3;
    const length = varint();
    if (!found.has(number)) found.set(number, message.subarray(at, at + length));
    at += length;
  }
  return found;
}

/** A DER certificate tells its own length, in 2 bytes after `30 82`. */
function toPem(certificates: Buffer): string {
  let pem = "";
  for (let at = 0; at < certificates.length;) {
    const end = at + 4 + certificates.readUInt16BE(at + 2);
    pem += `-----BEGIN CERTIFICATE-----\n${certificates.toString("base64", at, end)}\n-----END CERTIFICATE-----\n`;
    at = end;
  }
  return pem;
}
