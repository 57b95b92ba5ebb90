import { closeAfter } from "../native/gentle_end.ts";
import { NativeResponse } from "../native/native_response.ts";
import { mergePublished } from "./publish.ts";
import type { BunHandler, BunHandlers, BunMessage, BunServer, BunWebSocket, BunWebSocketOptions } from "./types.ts";

/** What the handlers of one native server get from its generation. */
interface HandlerContext {
  /** The server that handlers are called with: that of all generations. */
  readonly server: BunServer;
  /** Whether a request may reach the handlers. Absent with the handoff, where each request may. */
  readonly admits?: ((request: Request) => boolean) | undefined;
  /** Whether the response to a request is the last one of its connection. Absent unless connections are being ended. */
  readonly ends?: ((request: Request) => boolean) | undefined;
  /** The open WebSockets, absent if no drain may close them. */
  readonly webSockets?: Set<BunWebSocket> | undefined;
  /** Whether routes without a handler need {@linkcode HandlerContext.admits} or {@linkcode HandlerContext.ends} too. */
  readonly admitsStaticRoutes: boolean;
  /** The address of the client whose request is being upgraded, where the runtime knows another one. */
  upgradingAddress(): string | undefined;
  /** Publishes a message in all other generations. */
  publishElsewhere(topic: string, message: BunMessage, compress?: boolean): number;
}

const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"]);
/** RFC 9110 section 15.5.20: the request was directed to a server that does not produce an answer for it. */
const MISDIRECTED = 421;

/** Adapts the handlers of the application to the native server of one generation, as `Bun.serve` takes them. */
export function handlersFor({ fetch, routes, websocket, error }: BunHandlers<never>, context: HandlerContext): object {
  const { server } = context;
  return {
    ...(fetch && { fetch: adaptHandler(fetch, context) }),
    ...(routes && { routes: mapValues(routes, (route) => adaptRoute(route, context)) }),
    ...(websocket && { websocket: adaptWebSocket(websocket, context) }),
    ...(error && { error: (cause: Error) => error.call(server, cause) }),
  };
}

/**
 * The handlers of a generation whose clients may not be trusted any more, and are not known: each request is refused
 * and its connection closed, so that the client connects again and meets the current configuration. WebSockets
 * continue.
 */
export function refusingHandlers({ websocket }: BunHandlers<never>): object {
  const fetch = () => new NativeResponse(null, { status: MISDIRECTED, headers: { connection: "close" } });
  return { fetch, routes: { "/*": fetch }, ...(websocket && { websocket }) };
}

/** Whether a route is an HTML import, for which Bun makes an answer of its own. */
export function isHtmlImport(route: unknown): boolean {
  if (isMethodMap(route)) return Object.values(route).some(isHtmlImport);
  return typeof route === "object" && !(route instanceof NativeResponse) && !(route instanceof Blob);
}

function adaptHandler(handler: BunHandler, { server, admits, ends }: HandlerContext): (request: Request) => unknown {
  const answer = (request: Request) => {
    if (admits && !admits(request)) return new NativeResponse(null, { status: MISDIRECTED });
    return handler.call(server, request, server);
  };
  if (!ends) return answer;
  return (request) => {
    const response = answer(request);
    return ends(request) ? closeAfter(response) : response;
  };
}

function adaptRoute(route: unknown, context: HandlerContext): unknown {
  if (typeof route === "function") return adaptHandler(route as BunHandler, context);
  if (isMethodMap(route)) return mapValues(route, (each) => adaptRoute(each, context));
  if (!context.admitsStaticRoutes) return route;
  if (route instanceof NativeResponse) return adaptHandler(() => route.clone(), context);
  if (route instanceof Blob) return adaptHandler(() => new NativeResponse(route), context);
  return route;
}

type Publish = BunWebSocket["publish"];
type PublishingSocket = BunWebSocket & Record<"publishText" | "publishBinary", Publish>;

/**
 * Bun's `publish()` of a WebSocket reaches the subscribers of its own server only, but a room must not fall apart at a
 * swap. So the three methods that publish are replaced on each WebSocket: there is no place between them and the
 * runtime, and later generations can be reached from a socket that was opened before. All else is the runtime's own;
 * behind a front, the address of the client is given to it as well.
 */
function adaptWebSocket({ open, close, ...rest }: BunWebSocketOptions<never>, context: HandlerContext): object {
  const { publishElsewhere, upgradingAddress, webSockets } = context;
  const everywhere = (publish: Publish) => ({
    value(this: BunWebSocket, topic: string, message: BunMessage, compress?: boolean) {
      const own = publish.call(this, topic, message as string, compress);
      return mergePublished([own, publishElsewhere(topic, message, compress)]);
    },
  });
  /** The same for all sockets, of whose class no value is to be had before one is open. */
  let replacements: PropertyDescriptorMap | undefined;
  return {
    ...rest,
    ...((close || webSockets) && {
      close(socket: BunWebSocket, code: number, reason: string) {
        webSockets?.delete(socket);
        return close?.(socket as never, code, reason);
      },
    }),
    open(socket: PublishingSocket) {
      replacements ??= {
        publish: everywhere(socket.publish),
        publishText: everywhere(socket.publishText),
        publishBinary: everywhere(socket.publishBinary),
      };
      Object.defineProperties(socket, replacements);
      const value = upgradingAddress();
      if (value !== undefined) Object.defineProperty(socket, "remoteAddress", { value });
      webSockets?.add(socket);
      return open?.(socket as never);
    },
  };
}

function isMethodMap(route: unknown): route is Record<string, unknown> {
  if (typeof route !== "object" || route === null) return false;
  const names = Object.keys(route);
  return names.length > 0 && names.every((name) => METHODS.has(name));
}

function mapValues(object: Readonly<Record<string, unknown>>, map: (value: unknown) => unknown): object {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(value)]));
}
