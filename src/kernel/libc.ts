import { read } from "node:fs";
import process from "node:process";

/**
 * Memory that a foreign function may read and write. V8 may move a typed array that has no `ArrayBuffer` of its own.
 */
export type Memory = Uint8Array<ArrayBuffer>;

/** Memory of zeros. */
export const newMemory = (bytes: number): Memory => new Uint8Array(new ArrayBuffer(bytes));

/** The functions of the C library that make system calls. Each returns -1 if it fails; `errno` cannot be read. */
export interface Libc {
  bind(descriptor: number, address: Memory, length: number): number;
  close(descriptor: number): number;
  dup3(from: number, to: number, flags: number): number;
  epoll_ctl(epoll: number, operation: number, descriptor: number, event: Memory): number;
  fcntl(descriptor: number, command: number, argument: number): number;
  getrlimit(resource: number, limits: Memory): number;
  getsockname(descriptor: number, address: Memory, length: Memory): number;
  getsockopt(descriptor: number, level: number, option: number, value: Memory, length: Memory): number;
  listen(descriptor: number, backlog: number): number;
  open(path: Memory, flags: number): number;
  pread(descriptor: number, into: Memory, length: number, offset: number): number;
  setsockopt(descriptor: number, level: number, option: number, value: Memory, length: number): number;
  socket(domain: number, type: number, protocol: number): number;
  /** Reads the first byte of a file in another thread. Never rejects. */
  readAside(descriptor: number): Promise<unknown>;
}

type Synchronous = Exclude<keyof Libc, "readAside">;

/**
 * The parameters of each: `i` is an `int`, `p` a pointer, `l` a `long` or `size_t`. The result is an `int`, or `l`
 * where it stands last.
 */
const SIGNATURES: Readonly<Record<Synchronous, string>> = {
  bind: "ipi:i",
  close: "i:i",
  dup3: "iii:i",
  epoll_ctl: "iiip:i",
  fcntl: "iii:i",
  getrlimit: "ip:i",
  getsockname: "ipp:i",
  getsockopt: "iiipp:i",
  listen: "ii:i",
  open: "pi:i",
  pread: "ipll:l",
  setsockopt: "iiipi:i",
  socket: "iii:i",
};

/** The names that the dynamic linker knows: glibc, then musl. */
const NAMES = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];
/** Where the library is: Deno grants `--allow-ffi=PATH` for a path alone. */
const PATHS = [
  "/lib/x86_64-linux-gnu/libc.so.6",
  "/usr/lib/x86_64-linux-gnu/libc.so.6",
  "/lib/aarch64-linux-gnu/libc.so.6",
  "/usr/lib/aarch64-linux-gnu/libc.so.6",
  "/lib64/libc.so.6",
  "/usr/lib64/libc.so.6",
  "/usr/lib/libc.so.6",
  "/lib/libc.musl-x86_64.so.1",
  "/lib/libc.musl-aarch64.so.1",
];

const PREAD_ASIDE = {
  name: "pread",
  parameters: ["i32", "buffer", "isize", "isize"],
  result: "isize",
  nonblocking: true,
};

interface BunFfi {
  dlopen(name: string, symbols: object): { readonly symbols: Readonly<Record<string, ForeignFunction>> };
  ptr(memory: Memory): number;
}

type ForeignFunction = (...args: unknown[]) => number | bigint;
type Functions = Pick<Libc, Synchronous>;

declare const Deno: {
  readonly permissions: {
    querySync(permission: { readonly name: "ffi"; readonly path?: string }): { readonly state: string };
  };
  dlopen(name: string, symbols: object): { readonly symbols: Readonly<Record<string, ForeignFunction>> };
};

/** The C library, or the reason why it cannot be called. */
type LibcResult = { readonly libc: Libc } | { readonly reason: string };

/**
 * Opens the C library by the foreign function interface of Bun or Deno. Permissions are queried and never requested, so
 * that Deno shows no prompt.
 */
export function openLibc(): LibcResult {
  if (process.platform !== "linux") return { reason: `needs Linux, not ${process.platform}` };
  const bunFfi = process.getBuiltinModule("bun:ffi") as BunFfi | undefined;
  if (bunFfi) return openFirst(NAMES, (name) => bunLibc(bunFfi, name));
  if (typeof Deno === "undefined") return { reason: "needs Bun or Deno" };
  const isGranted = (path?: string) =>
    Deno.permissions.querySync({ name: "ffi", ...(path !== undefined && { path }) }).state === "granted";
  const names = isGranted() ? NAMES : PATHS.filter((path) => isGranted(path));
  if (names.length === 0) return { reason: "no permission --allow-ffi" };
  return openFirst(names, denoLibc);
}

function openFirst(names: readonly string[], open: (name: string) => Libc): LibcResult {
  let last: unknown;
  for (const name of names) {
    try {
      return { libc: open(name) };
    } catch (error) {
      last = error;
    }
  }
  return { reason: `no C library can be opened: ${last instanceof Error ? last.message : last}` };
}

function bunLibc(ffi: BunFfi, name: string): Libc {
  const types: Readonly<Record<string, string>> = { i: "i32", p: "ptr", l: "i64" };
  const { symbols } = ffi.dlopen(name, declared((args, returns) => ({ args, returns }), types));
  const functions = adapted(symbols, (argument) => typeof argument === "number" ? argument : ffi.ptr(argument));
  // Bun reads any descriptor; Deno only those that it has opened.
  const readAside = (descriptor: number) =>
    new Promise((resolve) => read(descriptor, new Uint8Array(1), 0, 1, 0, resolve));
  return { ...functions, readAside };
}

function denoLibc(name: string): Libc {
  const types: Readonly<Record<string, string>> = { i: "i32", p: "buffer", l: "isize" };
  const declarations = declared((parameters, result) => ({ parameters, result }), types);
  const { symbols } = Deno.dlopen(name, { ...declarations, readAside: PREAD_ASIDE });
  const functions = adapted(symbols, (argument, type) => type === "l" ? BigInt(argument as number) : argument);
  const readAside = async (descriptor: number) => await symbols["readAside"]!(descriptor, newMemory(1), 1n, 0n);
  return { ...functions, readAside };
}

function declared(
  declare: (parameters: readonly string[], result: string) => object,
  types: Readonly<Record<string, string>>,
): object {
  return Object.fromEntries(
    Object.entries(SIGNATURES).map(([name, signature]) => {
      const [parameters = "", result = ""] = signature.split(":");
      return [name, declare([...parameters].map((letter) => types[letter]!), types[result]!)];
    }),
  );
}

/** Adapts foreign functions so that they take numbers and memory. */
function adapted(
  symbols: Readonly<Record<string, ForeignFunction>>,
  convert: (argument: number | Memory, type: string) => unknown,
): Functions {
  const functions = Object.entries(SIGNATURES).map(([name, signature]) => {
    const call = symbols[name]!;
    const hasNumbersOnly = /^i+:i$/.test(signature);
    const converting = (...args: (number | Memory)[]) =>
      Number(call(...args.map((argument, at) => convert(argument, signature[at]!))));
    return [name, hasNumbersOnly ? call : converting];
  });
  return Object.fromEntries(functions);
}
