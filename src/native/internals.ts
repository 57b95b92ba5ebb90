import type { Server } from "node:net";

/**
 * Listens again with the handle of a server that listens already.
 *
 * Deno stops accepting after EMFILE; listening again on the same handle resumes it, and keeps the connections that wait
 * in the queue. Node and Bun resume by themselves. There is no public way: `server.listen()` throws
 * `ERR_SERVER_ALREADY_LISTEN`.
 *
 * Private property: `_handle.listen(backlog)` of `net.Server`. Seen on Node 22.23, 24.21, Deno 2.7.14 to 2.9.6; Bun
 * 1.4.5 has no `_handle.listen`, and needs none.
 */
export function listenAgain(server: Server, backlog: number): void {
  const { _handle: handle } = server as Server & { _handle?: { listen?(backlog: number): unknown } | null };
  handle?.listen?.(backlog);
}
