import { requireType } from "../arguments.ts";
import { metricsOf } from "../reload/metrics.ts";
import type { ReloaderStatus } from "../reload/status.ts";
import { statusPage } from "./page.ts";

/** The source of the status: a `Reloader`, or the result of `reloadTls()`. */
export interface StatusSource {
  /** The status, read for each request. */
  status(): ReloaderStatus;
}

const METHODS = ["GET", "HEAD"];
/** The page runs no script and loads nothing. */
const CONTENT_SECURITY_POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";

/**
 * Makes a request handler that shows the status of a reloader: certificates, sources, the last reloads. It never shows
 * a private key. It shows names, paths and error messages, so do not make it public.
 *
 * | path | answer |
 * | --- | --- |
 * | ends with `/metrics` | the status in the text format of Prometheus, always 200 |
 * | any other | the status as JSON, or as a page if the client prefers HTML; 503 once the certificate has expired |
 *
 * @param source The reloader.
 * @returns The handler, for `Deno.serve`, `Bun.serve`, Hono and others.
 *
 * @example Beside a server, on a port of its own
 * ```ts ignore
 * import { reloadTls } from "@x/tls-reload/reload";
 * import { statusHandler } from "@x/tls-reload/status";
 *
 * const tls = await reloadTls({ cert: "fullchain.pem", key: "privkey.pem" });
 * Deno.serve({ hostname: "127.0.0.1", port: 9090 }, statusHandler(tls));
 * ```
 *
 * @example With `node:http`
 * ```ts ignore
 * import { createServer } from "node:http";
 * import { statusHandler } from "@x/tls-reload/status";
 *
 * const handle = statusHandler(tls);
 * createServer(async ({ url = "/", method = "GET", headers: { accept = "" } }, response) => {
 *   const answer = handle(new Request(new URL(url, "http://localhost"), { method, headers: { accept } }));
 *   response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text());
 * }).listen(9090, "127.0.0.1");
 * ```
 */
export function statusHandler(source: StatusSource): (request: Request) => Response {
  requireType("statusHandler", "source.status", Object(source).status, "a function");
  return (request) => {
    if (!METHODS.includes(request.method)) return respond("", "text/plain", 405, { allow: METHODS.join(", ") });
    const status = source.status();
    if (new URL(request.url).pathname.endsWith("/metrics")) {
      return respond(metricsOf(status), "text/plain; version=0.0.4; charset=utf-8", 200);
    }
    const code = status.secondsLeft < 0 ? 503 : 200;
    if (prefersHtml(request.headers.get("accept") ?? "")) {
      const headers = { "content-security-policy": CONTENT_SECURITY_POLICY };
      return respond(statusPage(status), "text/html; charset=utf-8", code, headers);
    }
    return respond(`${JSON.stringify(status, undefined, 2)}\n`, "application/json", code);
  };
}

function respond(body: string, type: string, status: number, headers: Readonly<Record<string, string>> = {}): Response {
  const all = {
    "content-type": type,
    "cache-control": "no-store",
    "vary": "accept",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    ...headers,
  };
  return new Response(body, { status, headers: all });
}

/** Browsers name `text/html` first. Other clients send no header, `any type`, or JSON. */
function prefersHtml(accept: string): boolean {
  const types = accept.split(",").map((each) => each.split(";", 1)[0]!.trim().toLowerCase());
  const html = types.indexOf("text/html");
  const json = types.indexOf("application/json");
  return html >= 0 && (json < 0 || html < json);
}
