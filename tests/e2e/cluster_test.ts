import { assertEquals } from "@std/assert";
import cluster from "node:cluster";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { opened, test } from "../support/closing_tests.ts";
import { withFiles } from "../support/files.ts";
import { OpensslClient } from "../support/peers.ts";

const { bun } = process.versions as { bun?: string };
const NO_SHARED_PORT = bun !== undefined && process.platform !== "linux" && "Bun shares a port by reusePort, on Linux";
const NAMES = ["one", "two"];

/** Starts workers that share a port, and gives the port. */
async function startWorkers(env: Readonly<Record<string, string>>): Promise<number> {
  cluster.setupPrimary({ exec: fileURLToPath(new URL("../support/cluster_worker.ts", import.meta.url)) });
  let port = 0;
  for (const NAME of NAMES) {
    // The primary process gives all workers that ask for any port the same one.
    const worker = cluster.fork({ ...env, NAME, PORT: bun ? port : 0 });
    opened.add({
      async [Symbol.asyncDispose]() {
        worker.process.kill("SIGKILL");
        await once(worker, "exit");
      },
    });
    [{ port }] = await once(worker, "message");
  }
  return port;
}

test("workers of node:cluster greet a client that resumes its session of one of them (openssl s_client)", {
  skip: NO_SHARED_PORT,
}, () =>
  withFiles(async (files) => {
    const [server, ca] = [await issueServer("server"), await issueCa("clients")];
    const port = await startWorkers({
      CERT: await files.write("cert.pem", server.cert),
      KEY: await files.write("key.pem", server.key),
      CA: await files.write("ca.pem", ca.cert),
    });
    const client = await OpensslClient.create(await issueClient("client", { issuer: ca }));
    opened.add(client);
    const workerOf = ({ output }: { output: string }) => /generation 0 of (.*)/.exec(output)?.[1];
    for (const version of ["-tls1_2", "-tls1_3"]) {
      const owner = workerOf(await client.run(port, { args: [version] }));
      const reusedBy: Record<string, boolean> = {};
      while (Object.keys(reusedBy).length < NAMES.length) {
        const visit = await client.run(port, { args: [version], resume: true });
        reusedBy[workerOf(visit) ?? "a reset"] = visit.reused!;
      }
      assertEquals(reusedBy, Object.fromEntries(NAMES.map((name) => [name, name === owner])), version);
    }
  }));
