// Visits a server under several names, for each line of its standard input, and answers with the number of failures.
import process from "node:process";
import { createInterface } from "node:readline";
import { connect } from "node:tls";

const AT_ONCE = 4;

/** Resolves to 1 if nothing was answered, or the certificate is of another name. */
function visit(port: number, servername: string): Promise<number> {
  return new Promise((resolve) => {
    const client = connect({ host: "127.0.0.1", port, servername, rejectUnauthorized: false });
    let failures = 1;
    client.once("data", () => {
      if (client.getPeerCertificate().subject.CN === servername) failures = 0;
      client.destroy();
    });
    client.on("error", () => {}).once("close", () => resolve(failures));
  });
}

for await (const line of createInterface({ input: process.stdin })) {
  const { port, names, count } = JSON.parse(line) as { port: number; names: string[]; count: number };
  let [begun, failures] = [0, 0];
  const work = async () => {
    while (begun < count) {
      const failure = await visit(port, names[begun++ % names.length]!);
      failures += failure;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  console.log(failures);
}
