/**
 * Servers of `node:tls`, `node:https` and `node:http2` that follow a {@linkcode TlsState}, on Node and Deno; on Bun
 * those of `node:tls` and `node:http2`.
 *
 * @module
 */
export { attach } from "./attach/attach.ts";
export { type AttachMechanism, type Attachment, type AttachOptions } from "./attach/attachment.ts";
export { secureContext } from "./config/tls_config.ts";
