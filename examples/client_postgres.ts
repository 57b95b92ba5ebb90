// A pool of PostgreSQL connections whose certificate rolls over, on any runtime:
//   npm install pg && PGHOST=db PGUSER=app node examples/client_postgres.ts client.pem client.key ca.pem    (or bun, deno)
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import process from "node:process";
import pg from "pg";
import type { TlsState } from "@x/tls-reload";
import { clientOptions } from "@x/tls-reload/node";
import { reloadTls } from "@x/tls-reload/reload";

/** Keeps a pool for the current certificate: call the result for each query. */
export function rollingPool(state: TlsState, ca: string, config: pg.PoolConfig = {}): () => pg.Pool {
  const tls = clientOptions(state, { ca });
  // A copy of `tls`, because pg changes what it is given.
  const open = () => new pg.Pool({ ...config, ssl: { ...tls } }).on("error", console.warn);
  let pool = open();
  state.subscribe(() => {
    const previous = pool;
    pool = open();
    retire(previous);
  });
  return () => pool;
}

/** Ends a pool after its queries. `end()` forgets those that still wait for a connection. */
async function retire(pool: pg.Pool): Promise<void> {
  while (pool.waitingCount > 0) await once(pool, "release");
  await pool.end();
}

if (import.meta.main) {
  const [cert = "", key = "", caPath = ""] = process.argv.slice(2);
  const { state } = await reloadTls({ cert, key });
  const pool = rollingPool(state, await readFile(caPath, "utf8"));
  const who = "SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
  const ask = async () => console.log((await pool().query(who)).rows);
  setInterval(() => ask().catch(console.warn), 1_000);
}
