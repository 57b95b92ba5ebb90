import { execFile, spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";

/** What a client asks for. */
export interface Ask {
  /** The name to send; no name is sent if it is absent. */
  readonly name?: string;
  /** The only kind of key that the client verifies. */
  readonly kind?: "EC" | "RSA";
  /** The only version that the client speaks. */
  readonly version?: "TLSv1.2" | "TLSv1.3";
}

/** A client that is told by its options what it verifies. */
export interface NamedClient {
  readonly title: string;
  /** What it cannot do is left out of a test. */
  can(ask: Ask): boolean;
  /** The common name of the certificate that it is served; `undefined` if there is no handshake. */
  commonName(port: number, ask: Ask): Promise<string | undefined>;
}

const SIGNATURES = { EC: "ECDSA+SHA256", RSA: "RSA-PSS+SHA256:RSA+SHA256" };
const SUITES = { EC: "ECDHE-ECDSA-AES128-GCM-SHA256", RSA: "ECDHE-RSA-AES128-GCM-SHA256" };

/** Runs a program to its end, and gives everything that it prints. */
function printed(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] });
    let text = "";
    child.stdin.on("error", () => {}).end();
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (part) => text += part);
    child.once("close", () => resolve(text));
  });
}

const openssl: NamedClient = {
  title: "openssl",
  can: () => true,
  async commonName(port, { name, kind, version }) {
    const output = await printed("openssl", [
      ...["s_client", "-connect", `127.0.0.1:${port}`],
      ...(name === undefined ? ["-noservername"] : ["-servername", name]),
      ...(kind ? ["-sigalgs", SIGNATURES[kind]] : []),
      ...(version ? [version === "TLSv1.2" ? "-tls1_2" : "-tls1_3"] : []),
      ...(kind && version === "TLSv1.2" ? ["-cipher", SUITES[kind]] : []),
    ]);
    return /^subject=CN ?= ?(.*)$/m.exec(output)?.[1];
  },
};

const curl: NamedClient = {
  title: "curl",
  // It always sends a name, and cannot be told which signatures to verify.
  can: ({ name, kind, version }) => name !== undefined && (!kind || version === "TLSv1.2"),
  async commonName(port, { name, kind, version }) {
    const output = await printed("curl", [
      ...["--insecure", "--silent", "--verbose", "--max-time", "20", "--connect-to", `::127.0.0.1:${port}`],
      ...(version === "TLSv1.2" ? ["--tls-max", "1.2"] : version ? ["--tlsv1.3"] : []),
      ...(kind ? ["--ciphers", SUITES[kind]] : []),
      `https://${name}:${port}/`,
    ]);
    return /^\*\s+subject: CN=(.*)$/m.exec(output)?.[1];
  },
};

const own: NamedClient = {
  title: "this runtime",
  // The runtimes share no option for signatures; cipher suites of TLS 1.2 they do, but for Deno.
  can: ({ kind }) => !kind,
  commonName(port, { name, version }) {
    return new Promise((resolve) => {
      const client = connect({
        ...{ host: "127.0.0.1", port, rejectUnauthorized: false },
        ...(name !== undefined && { servername: name }),
        ...(version && { minVersion: version, maxVersion: version }),
      });
      client.once("secureConnect", () => {
        resolve(client.getPeerCertificate().subject?.CN?.toString());
        client.destroy();
      });
      client.on("error", () => resolve(undefined)).once("close", () => resolve(undefined));
    });
  },
};

const GO_CLIENT = `package main

import (
	"crypto/tls"
	"fmt"
	"os"
)

func main() {
	config := &tls.Config{ServerName: os.Args[2], InsecureSkipVerify: true}
	switch os.Args[3] {
	case "TLSv1.2":
		config.MaxVersion = tls.VersionTLS12
	case "TLSv1.3":
		config.MinVersion = tls.VersionTLS13
	}
	switch os.Args[4] {
	case "EC":
		config.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	case "RSA":
		config.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	}
	connection, err := tls.Dial("tcp", os.Args[1], config)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("CN=" + connection.ConnectionState().PeerCertificates[0].Subject.CommonName)
}
`;

/** The client of Go, where Go is installed. */
async function goClient(): Promise<(NamedClient & AsyncDisposable) | undefined> {
  if (spawnSync("go", ["version"]).status !== 0) return undefined;
  const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
  const program = join(folder, "client");
  await writeFile(`${program}.go`, GO_CLIENT);
  await new Promise<void>((resolve, reject) => {
    execFile("go", ["build", "-o", program, `${program}.go`], (error) => error ? reject(error) : resolve());
  });
  return {
    title: "Go",
    // Without a name it sends none only if the address is one; a trailing dot it removes itself.
    can: ({ kind, version }) => !kind || version === "TLSv1.2",
    async commonName(port, { name = "", kind = "", version = "" }) {
      return /^CN=(.*)$/m.exec(await printed(program, [`127.0.0.1:${port}`, name || "127.0.0.1", version, kind]))?.[1];
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Every client that is on this machine, and what removes them. */
export async function namedClients(): Promise<{ clients: readonly NamedClient[]; dispose(): Promise<void> }> {
  const go = await goClient();
  const clients = [openssl, curl, own, ...(go ? [go] : [])];
  return { clients, dispose: async () => await go?.[Symbol.asyncDispose]() };
}
