import type { Server } from "node:tls";
import type { TlsReloadError } from "../errors.ts";
import { unsupported } from "../unsupported.ts";
import { warn } from "../warnings.ts";
import type { Attachment } from "./attachment.ts";

/**
 * The listener of the event `"unref"` by which Fastify closes another server with the one that has it: `lib/server.js`,
 * seen in Fastify 5.0 to 5.12.
 */
const CLOSE_ANOTHER = "closeSecondary";

/**
 * Refuses one of several servers of Fastify. It listens on `localhost`, its default host, by a server for each address,
 * and shows the first only, as `app.server`. The others would serve the old certificate after a swap.
 *
 * @throws {TlsReloadError} `UNSUPPORTED` if Fastify has made another one beside it.
 */
export function requireOneServer(server: Server): void {
  if (server.listeners("unref").some(({ name }) => name === CLOSE_ANOTHER)) throw notTheOnly();
}

/** Emits a process warning once Fastify makes another server. The next swap, which is refused, may be months away. */
export function warnOfAnotherServer(server: Server, attachment: Attachment): void {
  server.on("newListener", (event: string | symbol, { name }: { readonly name: string }) => {
    if (event === "unref" && name === CLOSE_ANOTHER && attachment.isAttached) warn(notTheOnly());
  });
}

function notTheOnly(): TlsReloadError {
  return unsupported(
    "attach to server",
    'Fastify listens on each address of localhost by a server of its own; call listen() with a host, such as "0.0.0.0"',
  );
}
