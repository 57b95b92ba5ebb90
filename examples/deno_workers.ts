// Two workers of Deno on one port. Each has a state and a reloader of its own on the same files, so no key passes
// between them. `reusePort` needs Linux, and the flag:
//   deno run -A --unstable-net examples/deno_workers.ts fullchain.pem privkey.pem
import { serve } from "@x/tls-reload/deno";
import { reloadTls } from "@x/tls-reload/reload";

const [cert = "fullchain.pem", key = "privkey.pem"] = Deno.args;
const port = Number(Deno.env.get("PORT") ?? 8443);

if (self.name === "") { // the main thread; `import.meta.main` is true in workers too
  for (const name of ["worker 1", "worker 2"]) new Worker(import.meta.url, { type: "module", name });
} else {
  const { state } = await reloadTls({ cert, key });
  await serve(state, { port, reusePort: true }, () => new Response(`${self.name}\n`));
  console.log(`${self.name}: https://localhost:${port}/`);
}
