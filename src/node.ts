/**
 * Servers of `node:tls`, `node:https` and `node:http2` that follow a {@linkcode TlsState}, on Node and Deno; on Bun
 * those of `node:tls` and `node:http2`.
 *
 * @module
 */
export { attach, type Attachment, type AttachOptions } from "./attach/attach.ts";
export { secureContext } from "./config/tls_config.ts";
