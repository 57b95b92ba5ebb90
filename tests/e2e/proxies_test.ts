import { assert, assertEquals } from "@std/assert";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import process from "node:process";
import test from "node:test";
import { missingPrograms } from "../support/acme_authority.ts";
import { issueServer } from "../support/certificates.ts";
import { withFiles } from "../support/files.ts";
import { HttpConnection } from "../support/http.ts";
import { portOf } from "../support/peers.ts";
import { freePort } from "../support/ports.ts";

const MIGRATING = readFileSync(new URL("../../MIGRATING.md", import.meta.url), "utf8");
const TEMPORARY = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path .;`).join(" ");

/** A proxy that MIGRATING.md configures, and what the block there leaves to the rest of its configuration. */
interface Proxy {
  readonly language: string;
  readonly command: readonly [program: string, ...args: string[]];
  readonly configure: (block: string) => string;
}

const PROXIES: readonly Proxy[] = [{
  language: "nginx",
  command: ["nginx", "-p", ".", "-c", "proxy.conf", "-e", "stderr"],
  configure: (block) => `daemon off; pid nginx.pid; events {} http { access_log off; ${TEMPORARY} ${block} }`,
}, {
  language: "caddyfile",
  command: ["caddy", "run", "--adapter", "caddyfile", "--config", "proxy.conf"],
  configure: (block) => `{\n  admin off\n  auto_https disable_redirects\n}\n${block}`,
}];

for (const { language, command: [program, ...args], configure } of PROXIES) {
  const skip = process.versions["deno"] === undefined
    ? "is run once, by Deno"
    : missingPrograms(program).length > 0 && `needs ${program}: apt-get install ${program}`;
  test(`${program} forwards as MIGRATING.md configures it`, { skip }, () =>
    withFiles(async (files) => {
      const { cert, key } = await issueServer("localhost");
      await files.write("fullchain.pem", cert);
      await files.write("privkey.pem", key);
      const inner = createServer(({ headers }, response) => response.end(`hello ${headers["x-forwarded-for"]}\n`));
      await once(inner.listen(0, "127.0.0.1"), "listening");
      const port = await freePort();
      const [, block] = new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, "m").exec(MIGRATING) ?? [];
      assert(block);
      const config = block.replace("8443", String(port)).replace("8080", String(portOf(inner)));
      await files.write("proxy.conf", configure(config));
      const home = { HOME: files.path("."), XDG_DATA_HOME: files.path("."), XDG_CONFIG_HOME: files.path(".") };
      const proxy = spawn(program, args, {
        cwd: files.path("."),
        env: { ...process.env, ...home },
        stdio: ["ignore", "ignore", "inherit"],
      });
      try {
        const connection = await opened(port);
        assertEquals((await connection.ask("/")).text, "hello 127.0.0.1\n");
        connection.close();
      } finally {
        proxy.kill();
        if (proxy.exitCode === null) await once(proxy, "exit");
        inner.closeAllConnections();
        inner.close();
      }
    }));
}

/** Connects as soon as the proxy listens. */
async function opened(port: number): Promise<HttpConnection> {
  for (let left = 500;; left--) {
    const connection = await HttpConnection.open(port, { servername: "localhost" }).catch(() => undefined);
    if (connection) return connection;
    assert(left > 0, "the proxy does not listen");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
