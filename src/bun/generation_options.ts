import { optionsForRuntime } from "../native/serving_options.ts";
import { unsupported } from "../unsupported.ts";
import { handlersFor, isHtmlImport, refusingHandlers } from "./handlers.ts";
import type { BunGeneration } from "./native_server.ts";
import { publishTo } from "./publish.ts";
import type { Requests } from "./requests.ts";
import type { BunHandlers, BunServeOptions, BunServer } from "./types.ts";

/** What {@linkcode GenerationOptions} gets from the server of all generations. */
interface GenerationOptionsContext {
  /** The server that handlers are called with: that of all generations. */
  readonly server: BunServer;
  /** The requests of all generations. */
  readonly requests: Requests;
  /** The generations. */
  readonly servers: () => readonly BunGeneration[];
  /** Whether a drain may close WebSockets. */
  readonly tracksWebSockets: boolean;
}

/**
 * The options that are not passed on to `Bun.serve`: handlers are adapted, the others are decided for each generation.
 */
const OWN_OPTIONS = [
  "fetch",
  "routes",
  "websocket",
  "error",
  "mechanism",
  "onTlsError",
  "port",
  "hostname",
  "reusePort",
  "ipv6Only",
];

/**
 * The options of `Bun.serve` for the native server of each generation, made of those that the user gave for all.
 *
 * Invariant: all generations have the same settings for life, and the handlers that were set last.
 */
export class GenerationOptions {
  readonly #context: GenerationOptionsContext;
  readonly #settings: object;
  #handlers: BunHandlers<never>;
  /** Whether requests reach the native servers from clients directly, with nothing to check. */
  isDirect = true;

  constructor(options: BunServeOptions<never>, context: GenerationOptionsContext) {
    this.#context = context;
    this.#settings = optionsForRuntime(options, OWN_OPTIONS);
    this.#handlers = handlersIn(options);
  }

  /** Replaces the handlers of all generations. */
  setHandlers(handlers: BunHandlers<never>): void {
    if ("tls" in handlers) throw unsupported("serve", "'tls' is not an option of reload(); use swap() of the state");
    this.#handlers = handlersIn(handlers);
    for (const generation of this.#context.servers()) this.reload(generation);
  }

  /** Gives a generation the options that it should have now. */
  reload(generation: BunGeneration): void {
    generation.native.reload(this.for(generation));
  }

  /** The options of a generation. */
  for(generation: BunGeneration): object {
    if (generation.isRefusingRequests) return { ...this.#settings, ...refusingHandlers(this.#handlers) };
    const { server, requests, servers, tracksWebSockets } = this.#context;
    const handlers = handlersFor(this.#handlers, {
      server,
      admits: this.isDirect ? undefined : (request) => requests.admit(request, generation),
      ends: generation.drain && ((request) => generation.drain!.ends(request)),
      webSockets: tracksWebSockets ? generation.webSockets : undefined,
      admitsStaticRoutes: generation.isRefusingDirectConnections || generation.drain !== undefined,
      upgradingAddress: () => requests.upgradingAddress,
      publishElsewhere: (topic, message, compress) =>
        publishTo(servers().filter((each) => each !== generation), topic, message, compress),
    });
    return { ...this.#settings, ...handlers };
  }

  /** Throws `UNSUPPORTED` if a front cannot keep direct connections from a route. */
  refuseHtmlImports(): void {
    if (!Object.values(this.#handlers.routes ?? {}).some(isHtmlImport)) return;
    throw unsupported(
      "serve",
      "a front cannot keep direct connections from HTML imports; use them without client certificates",
    );
  }
}

function handlersIn({ fetch, routes, websocket, error }: BunHandlers<never>): BunHandlers<never> {
  return { fetch, routes, websocket, error };
}
