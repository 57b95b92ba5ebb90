import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { issueCa, issueServer } from "./certificates.ts";

/** An HTTPS server on loopback, whose certificate is by an authority that only a file of the company names. */
export interface CompanyServer extends AsyncDisposable {
  readonly url: string;
  /** Makes the file the roots of the system. */
  readonly env: Readonly<Record<string, string>>;
  /** Serves with a new authority from now on, and writes the authority to the file. */
  renewAuthority(): Promise<void>;
}

/** Starts such a server. */
export async function companyServer(): Promise<CompanyServer> {
  const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
  const file = join(folder, "company-roots.pem");
  /** Issues a certificate by a new authority, and listens with it. */
  const listen = async (port: number) => {
    const authority = await issueCa("Company Root");
    await writeFile(file, authority.cert);
    const { cert, key } = await issueServer("company server", { issuer: authority });
    const server = createServer({ cert, key }, (_request, response) => {
      response.setHeader("connection", "close").end("hello from the company\n");
    });
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    return server;
  };
  const close = () => new Promise<void>((resolve) => server.close(() => resolve()));
  let server = await listen(0);
  const { port } = server.address() as AddressInfo;
  return {
    url: `https://127.0.0.1:${port}/`,
    env: { SSL_CERT_FILE: file },
    async renewAuthority() {
      await close();
      server = await listen(port);
    },
    async [Symbol.asyncDispose]() {
      await close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
