// Makes a handshake for each line of its standard input, and answers with the common name of the certificate:
//   bun tests/support/bun_client.ts
import process from "node:process";
import { createInterface } from "node:readline";
import { connect } from "node:tls";

/** What to ask for, and with which cipher suites. */
interface Question {
  readonly port: number;
  readonly name?: string;
  readonly version?: "TLSv1.2" | "TLSv1.3";
  readonly suites?: string;
}

function commonName({ port, name, version, suites }: Question): Promise<string | undefined> {
  return new Promise((resolve) => {
    const client = connect({
      ...{ host: "127.0.0.1", port, rejectUnauthorized: false },
      ...(name !== undefined && { servername: name }),
      ...(version && { minVersion: version, maxVersion: version }),
      ...(suites !== undefined && { ciphers: suites }),
    });
    client.once("secureConnect", () => {
      resolve(client.getPeerCertificate().subject?.CN);
      client.destroy();
    });
    client.on("error", () => resolve(undefined)).once("close", () => resolve(undefined));
  });
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify({ commonName: await commonName(JSON.parse(line)) }));
}
