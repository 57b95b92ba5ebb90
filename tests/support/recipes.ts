import { connectMqttByWebSocket, connectMqtts } from "./mqtt_clients.ts";
import { connectSmtps, connectStarttls } from "./smtp_clients.ts";
import { connectGrpc, connectHttp2 } from "./stream_clients.ts";
import { requests, socketIo, webSockets } from "./web_clients.ts";
import type { WireClient } from "./wire_client.ts";

/** A runtime, as the documents call it. `https` servers of Bun can be attached on Linux only. */
export type RuntimeName = "Node" | "Deno" | "Bun" | "Bun on Linux";

/** A program of `examples/frameworks/`, and what is proved of it. */
export interface Recipe {
  /** The framework, as its users call it. */
  readonly framework: string;
  readonly file: string;
  readonly runsOn: readonly RuntimeName[];
  /** Its clients by the scheme of the URL that they connect to, and by what they keep up through the swaps. */
  readonly clients: Readonly<Record<string, Readonly<Record<string, WireClient>>>>;
}

const EVERYWHERE = ["Node", "Deno", "Bun"] as const;
const ATTACHED = ["Node", "Deno", "Bun on Linux"] as const;
const HTTP = { https: { requests } };
const HTTP_AND_WEB_SOCKETS = { https: { requests, WebSockets: webSockets("/live") } };
const WEB_SOCKETS = { wss: { WebSockets: webSockets("/") } };
const SOCKET_IO = { https: { polling: socketIo("polling"), WebSockets: socketIo("websocket") } };
const GRPC = { grpcs: { streams: connectGrpc } };
const HTTP2 = { https: { streams: connectHttp2 } };
const MAIL = { smtps: { "mail over TLS": connectSmtps }, smtp: { "after STARTTLS": connectStarttls } };
const MQTT = { mqtts: { "MQTT over TLS": connectMqtts }, wss: { "over WebSocket": connectMqttByWebSocket } };

/** The programs of `examples/frameworks/`, in the order of their names. */
export const RECIPES: readonly Recipe[] = [
  { framework: "aedes 1", file: "aedes.ts", runsOn: ATTACHED, clients: MQTT },
  { framework: "Elysia 1.4", file: "elysia_bun.ts", runsOn: ["Bun"], clients: HTTP_AND_WEB_SOCKETS },
  { framework: "Elysia 1.4", file: "elysia_deno.ts", runsOn: ["Deno"], clients: HTTP },
  { framework: "Elysia 1.4", file: "elysia_node.ts", runsOn: ATTACHED, clients: HTTP },
  { framework: "Express 5", file: "express.ts", runsOn: ATTACHED, clients: HTTP },
  { framework: "Fastify 5", file: "fastify.ts", runsOn: ATTACHED, clients: HTTP },
  { framework: "`@grpc/grpc-js` 1", file: "grpc.ts", runsOn: EVERYWHERE, clients: GRPC },
  { framework: "Hono 4", file: "hono_bun.ts", runsOn: ["Bun"], clients: HTTP_AND_WEB_SOCKETS },
  { framework: "Hono 4", file: "hono_deno.ts", runsOn: ["Deno"], clients: HTTP_AND_WEB_SOCKETS },
  { framework: "Hono 4", file: "hono_node.ts", runsOn: ATTACHED, clients: HTTP_AND_WEB_SOCKETS },
  { framework: "`node:http2`", file: "http2.ts", runsOn: ATTACHED, clients: HTTP2 },
  { framework: "Koa 3", file: "koa.ts", runsOn: ATTACHED, clients: HTTP },
  { framework: "NestJS 12, Express", file: "nest_express.ts", runsOn: ATTACHED, clients: HTTP },
  { framework: "NestJS 12, Fastify", file: "nest_fastify.ts", runsOn: ATTACHED, clients: HTTP },
  { framework: "smtp-server 3", file: "smtp_server.ts", runsOn: EVERYWHERE, clients: MAIL },
  { framework: "Socket.IO 4", file: "socket_io.ts", runsOn: ATTACHED, clients: SOCKET_IO },
  { framework: "ws 8", file: "ws.ts", runsOn: ATTACHED, clients: WEB_SOCKETS },
];

/** The row of a recipe in the table of `docs/frameworks.md`. */
export function rowOf({ framework, file, runsOn, clients }: Recipe): readonly string[] {
  const kept = Object.values(clients).flatMap((each) => Object.keys(each));
  return [framework, `[${file}](../examples/frameworks/${file})`, runsOn.join(", "), kept.join(", ")];
}
