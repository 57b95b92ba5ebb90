import { KernelError, type SocketAddress } from "./kernel.ts";
import { type Libc, type Memory, newMemory } from "./libc.ts";

const AF_INET = 2;
const AF_INET6 = 10;

/** Options and addresses of sockets. The memory that the calls write to is allocated once. */
export class SocketOptions {
  readonly #libc: Libc;
  readonly #value = new DataView(new ArrayBuffer(104));
  readonly #valueBytes = new Uint8Array(this.#value.buffer);
  readonly #length = new DataView(new ArrayBuffer(4));
  readonly #lengthBytes = new Uint8Array(this.#length.buffer);
  readonly #address = newMemory(128);

  constructor(libc: Libc) {
    this.#libc = libc;
  }

  /** The value of an option that is an `int`, or -1. */
  int(descriptor: number, level: number, option: number): number {
    return this.read(descriptor, level, option, 4)?.getInt32(0, true) ?? -1;
  }

  /** The value of an option, until the next call. */
  read(descriptor: number, level: number, option: number, length: number): DataView | undefined {
    this.#length.setUint32(0, length, true);
    const result = this.#libc.getsockopt(descriptor, level, option, this.#valueBytes, this.#lengthBytes);
    return result === 0 ? this.#value : undefined;
  }

  /** Sets an option that is an `int`. */
  setInt(operation: string, descriptor: number, level: number, option: number, value: number): void {
    this.#value.setInt32(0, value, true);
    const result = this.#libc.setsockopt(descriptor, level, option, this.#valueBytes, 4);
    if (result < 0) throw new KernelError(operation);
  }

  /** The local port of an IP socket, or -1. */
  port(descriptor: number): number {
    this.#length.setUint32(0, this.#address.length, true);
    if (this.#libc.getsockname(descriptor, this.#address, this.#lengthBytes) !== 0) return -1;
    const family = this.#address[0]! | (this.#address[1]! << 8);
    if (family !== AF_INET && family !== AF_INET6) return -1;
    return (this.#address[2]! << 8) | this.#address[3]!;
  }

  /** The local address of an IP socket. */
  address(descriptor: number): SocketAddress {
    const port = this.port(descriptor);
    if (port < 0) throw new KernelError("read an address", `descriptor ${descriptor} is not an IP socket`);
    return { hostname: ipText(this.#address), port };
  }
}

/** The address of `struct sockaddr_in` or `struct sockaddr_in6` as text. */
function ipText(address: Memory): string {
  if (address[0] === AF_INET) return address.subarray(4, 8).join(".");
  const groups = Array.from({ length: 8 }, (_, at) => (address[8 + 2 * at]! << 8) | address[9 + 2 * at]!);
  // RFC 5952, as URLs have it.
  return new URL(`http://[${groups.map((group) => group.toString(16)).join(":")}]`).hostname.slice(1, -1);
}
