import process from "node:process";
import { unsupported } from "../unsupported.ts";

declare const Deno: {
  readonly permissions: {
    requestSync(permission: { readonly name: "net"; readonly host: string }): { readonly state: string };
  };
  /** Defined with the flag `--unstable-net` only. */
  readonly listenDatagram?: unknown;
};

/** Refuses other runtimes, and names what serves there. */
export function requireDeno(action: "listen" | "serve"): void {
  if (process.versions["deno"]) return;
  throw unsupported(action, "it needs Deno; use attach() of ./node, serve() of ./bun, or state.acceptor()");
}

/**
 * Asks for a permission in advance: Deno throws the error of a missing one where no code can catch it, which ends the
 * process.
 */
export function requireNet(hostname: string, port?: number): void {
  const name = hostname.includes(":") ? `[${hostname}]` : hostname;
  const host = port === undefined ? name : `${name}:${port}`;
  if (Deno.permissions.requestSync({ name: "net", host }).state !== "granted") {
    throw unsupported("serve", `it needs the permission --allow-net=${host}`);
  }
}

/**
 * What a native server lacks to listen, if anything. Deno ends the process when a native server shares a port without
 * the flag.
 */
export function missingToListen({ reusePort }: { readonly reusePort?: boolean | undefined }): string | undefined {
  return reusePort && Deno.listenDatagram === undefined ? "'reusePort' needs --unstable-net" : undefined;
}
