/**
 * Servers of `node:tls`, `node:https` and `node:http2` that follow a {@linkcode TlsState}, on Node and Deno; on Bun
 * those of `node:tls` and `node:http2`, and on Linux of `node:https` too. {@linkcode clientOptions} is for clients, on all
 * runtimes.
 *
 * ```ts
 * // Deno, Node
 * import https from "node:https";
 * import { attach } from "@x/tls-reload/node";
 * import { reloadTls } from "@x/tls-reload/reload";
 *
 * const { state } = await reloadTls({ cert: "fullchain.pem", key: "privkey.pem" });
 * const server = https.createServer((_request, response) => response.end("hello\n")).listen(8443);
 * attach(state, server);
 * ```
 *
 * @module
 */
export { attach } from "./attach/attach.ts";
export { type AttachMechanism, type Attachment, type AttachOptions } from "./attach/attachment.ts";
export { clientOptions, type ClientTrust, type TlsClientOptions } from "./client/client_options.ts";
export { secureContext } from "./config/tls_config.ts";
