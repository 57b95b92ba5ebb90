import type { ListenAddress } from "../native/native_server.ts";

/** The arguments of a call of `listen()`. */
interface ListenCall {
  /** Where to listen, with the other options of `listen()`; `undefined` if it is not a TCP port. */
  readonly address: ListenAddress | undefined;
  /** Closes the server when aborted. */
  readonly signal: AbortSignal | undefined;
  /** Called when the server listens. */
  readonly callback: (() => void) | undefined;
}

interface ListenOptions {
  readonly port?: unknown;
  readonly host?: string;
  readonly path?: string;
  readonly fd?: unknown;
  readonly signal?: AbortSignal;
}

/**
 * Reads the arguments of `listen()` in each of the forms of `net.Server`: `listen(options)`,
 * `listen(port, host, backlog)`, `listen(path)` and `listen(handle)`, each with a callback at the end.
 */
export function listenCallOf(args: readonly unknown[]): ListenCall {
  const last = args.at(-1);
  const callback = typeof last === "function" ? last as () => void : undefined;
  const [first, ...others] = callback ? args.slice(0, -1) : args;
  if (typeof first === "object" && first !== null) {
    const { port, host, signal, ...rest } = first as ListenOptions;
    const isPort = port !== undefined && rest.path === undefined && rest.fd === undefined;
    return { address: isPort ? addressOf(port, host, rest) : undefined, signal, callback };
  }
  const host = others.find((each) => typeof each === "string");
  const backlog = others.find((each) => typeof each === "number");
  return {
    address: addressOf(first ?? 0, host, { ...(backlog !== undefined && { backlog }) }),
    signal: undefined,
    callback,
  };
}

function addressOf(port: unknown, hostname: string | undefined, rest: object): ListenAddress | undefined {
  const number = port === "" ? NaN : Number(port);
  if (!Number.isInteger(number)) return undefined;
  return { ...rest, ...(hostname !== undefined && { hostname }), port: number };
}
