import { assert, assertEquals } from "@std/assert";
import process from "node:process";
import test from "node:test";
import { connectMqttByWebSocket, connectMqtts } from "../support/mqtt_clients.ts";
import { rotateProgram } from "../support/program_rotation.ts";
import { connectSmtps, connectStarttls } from "../support/smtp_clients.ts";
import { connectGrpc, connectHttp2 } from "../support/stream_clients.ts";
import type { WireClient } from "../support/wire_client.ts";

const NO_SIGNALS = process.platform === "win32" && "Windows has no SIGHUP";

/** The programs of examples/frameworks/ that speak another protocol than HTTP/1.1, with a client for each port. */
const PROGRAMS: Readonly<Record<string, Readonly<Record<string, WireClient>>>> = {
  "aedes.ts": { mqtts: connectMqtts, wss: connectMqttByWebSocket },
  "grpc.ts": { grpcs: connectGrpc },
  "http2.ts": { https: connectHttp2 },
  "smtp_server.ts": { smtps: connectSmtps, smtp: connectStarttls },
};
const ANY_PORT = { PORT: "0", WEB_PORT: "0", STARTTLS_PORT: "0" };

for (const [file, clients] of Object.entries(PROGRAMS)) {
  test(`${file} drops nothing and serves nothing stale in ten swaps under load`, { skip: NO_SIGNALS }, async () => {
    for (const report of await rotateProgram(`examples/frameworks/${file}`, clients, ANY_PORT)) {
      assertEquals([report.failures, report.stale, report.survived], [[], 0, 10]);
      assert(report.connections.slice(1).every((count) => count > 0));
    }
  });
}
