import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { issueCa, type Issued, issueServer } from "./certificates.ts";

/** An HTTPS server on loopback, whose certificate is by an authority that only a file of the company names. */
export interface CompanyServer extends AsyncDisposable {
  /** Where it listens, as long as its authority stays. */
  readonly port: number;
  readonly url: string;
  /** Serves with a new authority from now on, on another port, and writes the authority to the file. */
  renewAuthority(): Promise<void>;
}

/** Starts such a server, and lets `SSL_CERT_FILE` name the file. */
export async function companyServer(): Promise<CompanyServer> {
  const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
  const file = process.env["SSL_CERT_FILE"] = join(folder, "company-roots.pem");
  delete process.env["SSL_CERT_DIR"];
  const issueBoth = async (): Promise<Issued> => {
    const authority = await issueCa("Company Root");
    await writeFile(file, authority.cert);
    return issueServer("company server", { issuer: authority });
  };
  const listen = async () => {
    const { cert, key } = await issueBoth();
    const server = createServer({ cert, key }, (_request, response) => {
      response.setHeader("connection", "close").end("hello from the company\n");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return server;
  };
  const close = () => new Promise<void>((resolve) => server.close(() => resolve()));
  let server = await listen();
  const portOf = () => (server.address() as AddressInfo).port;
  return {
    get port() {
      return portOf();
    },
    get url() {
      return `https://127.0.0.1:${portOf()}/`;
    },
    renewAuthority: async () => {
      const next = await listen();
      await close();
      server = next;
    },
    [Symbol.asyncDispose]: async () => {
      await close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
