// Servers that follow the files of a folder: by a Reloader, and by hand.
import { readFileSync, watch } from "node:fs";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { loadTlsConfig, TlsState } from "../../mod.ts";
import { Reloader, type WatchOptions } from "../../src/reload.ts";
import { greet, overAcceptor } from "./node.ts";
import { type Identity, listen, type Start } from "./serving.ts";

const NEVER_MS = 600_000;

export const WATCHING_SERVERS: Record<string, Start> = {
  "Reloader, 10 ms to settle": reloading({ settleMs: 10, pollIntervalMs: NEVER_MS }),
  "Reloader, 250 ms to settle (default)": reloading({ settleMs: 250, pollIntervalMs: NEVER_MS }),
  "Reloader, no events, polling every 200 ms": reloading({ settleMs: NEVER_MS, pollIntervalMs: 200 }),
  "fs.watch and setSecureContext by hand": async (_identities, folder) => {
    const server = createTlsServer(readIdentity(folder, "tls"), greet);
    watch(folder, () => {
      try {
        server.setSecureContext(readIdentity(folder, "tls"));
      } catch {
        // A key without its certificate: the next event brings it.
      }
    });
    return await listen(server);
  },
};

/** Reads `NAME.crt` and `NAME.key`. */
export function readIdentity(folder: string, name: string): Identity {
  const read = (extension: string) => readFileSync(join(folder, `${name}.${extension}`), "utf8");
  return { cert: read("crt"), key: read("key") };
}

function reloading(options: WatchOptions): Start {
  return async (_identities, folder) => {
    const files = [join(folder, "tls.crt"), join(folder, "tls.key")] as const;
    const load = () => loadTlsConfig(...files);
    const state = new TlsState(await load());
    const reloader = new Reloader(state, load);
    const hasLooked = new Promise((resolve) => reloader.addEventListener("unchanged", resolve, { once: true }));
    // First, because a reloader keeps no process alive.
    const started = await listen(overAcceptor(state, greet));
    reloader.watch(files, options);
    await hasLooked;
    return started;
  };
}
