/** A listener of the runtime, which ends with this thread, be it by `worker.terminate()`. */
export interface ThreadListener {
  /** Its port on 127.0.0.1. */
  readonly port: number;
  /** Closes its descriptor at once. */
  close(): void;
}

declare const Bun: {
  listen(options: object): { readonly port: number; stop(closeActiveConnections: boolean): void; unref(): void };
};
declare const Deno: {
  listen(options: object): { readonly addr: { readonly port: number }; close(): void };
};

const LOOPBACK = { hostname: "127.0.0.1", port: 0 };

/** Opens a listener that accepts nothing and keeps no process running. Throws the error of the system. */
export function openThreadListener(): ThreadListener {
  if (typeof Bun === "undefined") {
    const listener = Deno.listen(LOOPBACK);
    return { port: listener.addr.port, close: () => listener.close() };
  }
  const listener = Bun.listen({ ...LOOPBACK, socket: { data() {} } });
  listener.unref();
  return { port: listener.port, close: () => listener.stop(true) };
}
