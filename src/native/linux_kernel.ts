import { Buffer } from "node:buffer";
import process from "node:process";
import { encodeEpollEvent, type EpollEvent, parseRegistrations } from "./epoll_event.ts";
import { type Kernel, KernelError, type SocketAddress } from "./kernel.ts";
import { type Libc, type Memory, newMemory } from "./libc.ts";
import { listenersOn } from "./listener.ts";
import { openThreadListener, type ThreadListener } from "./thread_listener.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0x800;
const SOL_SOCKET = 1;
const SO_ACCEPTCONN = 30;
const SO_COOKIE = 57;
const SO_BINDTOIFINDEX = 62;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const TCP_INFO = 11;
const TCP_NOTSENT_LOWAT = 25;
/** `tcpi_unacked` and `tcpi_sacked`: of a listener the length and the limit of its queue. */
const QUEUE_LENGTH_OFFSET = 24;
const QUEUE_LIMIT_OFFSET = 28;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const F_DUPFD_CLOEXEC = 1030;
const RLIMIT_NOFILE = 7;
/** `O_CLOEXEC`, which is `SOCK_CLOEXEC` as well. */
const CLOEXEC = 0x80000;
const O_RDONLY_CLOEXEC = CLOEXEC;

/** Standard input, output and error stand below. */
const FIRST_DESCRIPTOR = 3;
/** The index of a network interface that no machine has. */
const NO_INTERFACE = 0x7fffffff;
const FIRST_FDINFO_BYTES = 65_536;

const pathOf = (path: string): Memory => {
  const memory = newMemory(Buffer.byteLength(path) + 1);
  memory.set(Buffer.from(path));
  return memory;
};

/**
 * The kernel of Linux, by calls of the C library.
 *
 * A descriptor that outlives a call is one that the runtime has opened, for a listener, and that was put to another use:
 * the runtime closes it when the thread ends. Nothing else would when a worker is terminated.
 *
 * Memory that the calls write to is allocated once. `/proc/self/fdinfo` of the epoll instance stays open, so that
 * registrations can be read when no descriptor is free.
 */
export class LinuxKernel implements Kernel {
  readonly #libc: Libc;
  readonly #int = new DataView(new ArrayBuffer(8));
  readonly #intBytes = new Uint8Array(this.#int.buffer);
  readonly #length = new DataView(new ArrayBuffer(4));
  readonly #lengthBytes = new Uint8Array(this.#length.buffer);
  readonly #address = newMemory(128);
  /** The listeners whose descriptors hold what was duplicated. */
  readonly #owners = new Map<number, ThreadListener>();
  readonly #tcpInfo = newMemory(104);
  #fdinfo = newMemory(FIRST_FDINFO_BYTES);
  #epoll = -1;
  #fdinfoDescriptor = -1;
  /** The size of the descriptor table when the kernel had room for its registrations. */
  #preparedSize = 0;

  constructor(libc: Libc) {
    this.#libc = libc;
  }

  duplicate(descriptor: number): number {
    const near = this.lowestFree();
    if (near < 0) throw new KernelError("duplicate", "no descriptor is free");
    const owner = openThreadListener();
    // Another thread may have taken the lowest number meanwhile.
    const duplicate = listenersOn(this, owner.port, near, near + 1)[0] ?? listenersOn(this, owner.port)[0];
    try {
      if (duplicate === undefined) throw new KernelError("duplicate", "the descriptor of a listener cannot be found");
      this.replace(duplicate, descriptor);
    } catch (error) {
      owner.close();
      throw error;
    }
    this.#owners.set(duplicate, owner);
    return duplicate;
  }

  close(descriptor: number): void {
    const owner = this.#owners.get(descriptor);
    this.#owners.delete(descriptor);
    if (owner) owner.close();
    else this.#libc.close(descriptor);
  }

  replace(descriptor: number, socket: number): void {
    succeeded("replace", this.#libc.dup3(socket, descriptor, CLOEXEC));
  }

  lowestFree(): number {
    const descriptor = this.#libc.fcntl(this.#anyDescriptor, F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR);
    if (descriptor >= 0) this.#libc.close(descriptor);
    return descriptor;
  }

  hasFree(count: number): boolean {
    const taken: number[] = [];
    for (let descriptor = 0; taken.length < count && descriptor >= 0;) {
      descriptor = this.#libc.fcntl(this.#anyDescriptor, F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR);
      if (descriptor >= 0) taken.push(descriptor);
    }
    for (const descriptor of taken) this.#libc.close(descriptor);
    return taken.length === count;
  }

  tableSize(): number {
    const status = this.#readFile("/proc/self/status", 4096);
    const [, size] = /^FDSize:\s+(\d+)$/m.exec(Buffer.from(status).toString("latin1")) ?? [];
    // Without a free descriptor the table is as large as the limit.
    return size === undefined ? this.#descriptorLimit() : Number(size);
  }

  /** A descriptor that is open: standard input may be closed, but is needed before the event loop is known only. */
  get #anyDescriptor(): number {
    return Math.max(0, this.#fdinfoDescriptor);
  }

  #descriptorLimit(): number {
    const limits = newMemory(16);
    succeeded("getrlimit", this.#libc.getrlimit(RLIMIT_NOFILE, limits));
    return Number(new DataView(limits.buffer).getBigUint64(0, true));
  }

  learnEventLoop(descriptor: number): void {
    for (let epoll = FIRST_DESCRIPTOR, end = this.tableSize(); epoll < end; epoll++) {
      const file = this.#libc.open(pathOf(`/proc/self/fdinfo/${epoll}`), O_RDONLY_CLOEXEC);
      if (file < 0) continue;
      if (parseRegistrations(this.#readWhole(file), descriptor).length > 0) {
        // Deno has two descriptors of one instance: either serves.
        this.#epoll = epoll;
        this.#fdinfoDescriptor = this.duplicate(file);
      }
      this.#libc.close(file);
      if (this.#epoll === epoll) return;
    }
    throw new KernelError("learn the event loop", `no epoll instance has descriptor ${descriptor}`);
  }

  /**
   * The kernel writes the text of all registrations to a buffer that doubles until they fit, each time from the start,
   * and keeps the buffer. With a table that has grown this takes as long as two or three readings.
   */
  async prepareRegistrations(): Promise<void> {
    const size = this.tableSize();
    if (size <= this.#preparedSize) return;
    this.#preparedSize = size;
    await this.#libc.readAside(this.#fdinfoDescriptor);
  }

  registrations(descriptors: readonly number[]): EpollEvent[][] {
    const fdinfo = this.#readWhole(this.#fdinfoDescriptor);
    return descriptors.map((descriptor) => parseRegistrations(fdinfo, descriptor));
  }

  register(descriptor: number, event: EpollEvent): void {
    const bytes = encodeEpollEvent(event, process.arch);
    succeeded("register", this.#libc.epoll_ctl(this.#epoll, EPOLL_CTL_ADD, descriptor, bytes));
  }

  unregister(descriptor: number): void {
    succeeded("unregister", this.#libc.epoll_ctl(this.#epoll, EPOLL_CTL_DEL, descriptor, this.#intBytes));
  }

  isListening(descriptor: number): boolean {
    return this.#getInt(descriptor, SOL_SOCKET, SO_ACCEPTCONN) === 1;
  }

  cookie(descriptor: number): bigint {
    this.#length.setUint32(0, 8, true);
    const result = this.#libc.getsockopt(descriptor, SOL_SOCKET, SO_COOKIE, this.#intBytes, this.#lengthBytes);
    return result === 0 ? this.#int.getBigUint64(0, true) : 0n;
  }

  port(descriptor: number): number {
    return this.#readAddress(descriptor) ? (this.#address[2]! << 8) | this.#address[3]! : -1;
  }

  address(descriptor: number): SocketAddress {
    const port = this.port(descriptor);
    if (port < 0) throw new KernelError("read an address", `descriptor ${descriptor} is not an IP socket`);
    return { hostname: ipText(this.#address), port };
  }

  mark(descriptor: number): number {
    return this.#getInt(descriptor, IPPROTO_TCP, TCP_NOTSENT_LOWAT);
  }

  setMark(descriptor: number, mark: number): void {
    this.#setInt("mark", descriptor, IPPROTO_TCP, TCP_NOTSENT_LOWAT, mark);
  }

  setNoDelay(descriptor: number): void {
    this.#setInt("set TCP_NODELAY", descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
  }

  queue(descriptor: number): { readonly length: number; readonly limit: number } {
    this.#length.setUint32(0, this.#tcpInfo.length, true);
    const result = this.#libc.getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, this.#tcpInfo, this.#lengthBytes);
    if (result !== 0) return { length: -1, limit: -1 };
    const info = new DataView(this.#tcpInfo.buffer);
    return { length: info.getUint32(QUEUE_LENGTH_OFFSET, true), limit: info.getUint32(QUEUE_LIMIT_OFFSET, true) };
  }

  listen(descriptor: number, backlog: number): void {
    succeeded("listen", this.#libc.listen(descriptor, backlog));
  }

  openDummy(): number {
    const dummy = succeeded("open a socket", this.#libc.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | CLOEXEC, 0));
    try {
      const address = newMemory(16);
      address.set([AF_INET, 0, 0, 0, 127, 0, 0, 1]);
      succeeded("bind", this.#libc.bind(dummy, address, address.length));
      // Before it listens: no packet comes in by this interface.
      this.#setInt("bind to an interface", dummy, SOL_SOCKET, SO_BINDTOIFINDEX, NO_INTERFACE);
      this.listen(dummy, 1);
      return this.duplicate(dummy);
    } finally {
      this.#libc.close(dummy);
    }
  }

  #readAddress(descriptor: number): boolean {
    this.#length.setUint32(0, this.#address.length, true);
    if (this.#libc.getsockname(descriptor, this.#address, this.#lengthBytes) !== 0) return false;
    const family = this.#address[0]! | (this.#address[1]! << 8);
    return family === AF_INET || family === AF_INET6;
  }

  #getInt(descriptor: number, level: number, option: number): number {
    this.#length.setUint32(0, 4, true);
    const result = this.#libc.getsockopt(descriptor, level, option, this.#intBytes, this.#lengthBytes);
    return result === 0 ? this.#int.getInt32(0, true) : -1;
  }

  #setInt(operation: string, descriptor: number, level: number, option: number, value: number): void {
    this.#int.setInt32(0, value, true);
    succeeded(operation, this.#libc.setsockopt(descriptor, level, option, this.#intBytes, 4));
  }

  #readFile(path: string, maxBytes: number): Memory {
    const file = this.#libc.open(pathOf(path), O_RDONLY_CLOEXEC);
    if (file < 0) return newMemory(0);
    const bytes = newMemory(maxBytes);
    const length = this.#libc.pread(file, bytes, maxBytes, 0);
    this.#libc.close(file);
    return bytes.subarray(0, Math.max(0, length));
  }

  /**
   * Reads a file of any size, by the one buffer for it. The kernel makes the whole text at the first call, and again for
   * each time that its own buffer doubles; that buffer lives as long as the file is open.
   */
  #readWhole(file: number): string {
    for (let length = 0;;) {
      const room = this.#fdinfo.subarray(length);
      const count = this.#libc.pread(file, room, room.length, length);
      if (count <= 0) return Buffer.from(this.#fdinfo.buffer).toString("latin1", 0, length);
      length += count;
      if (length < this.#fdinfo.length) continue;
      const larger = newMemory(2 * this.#fdinfo.length);
      larger.set(this.#fdinfo);
      this.#fdinfo = larger;
    }
  }
}

function succeeded(operation: string, result: number): number {
  if (result < 0) throw new KernelError(operation);
  return result;
}

/** An address of `struct sockaddr_in` or `struct sockaddr_in6` as text. */
function ipText(address: Memory): string {
  if (address[0] === AF_INET) return address.subarray(4, 8).join(".");
  const groups = Array.from({ length: 8 }, (_, at) => (address[8 + 2 * at]! << 8) | address[9 + 2 * at]!);
  // RFC 5952, as URLs have it.
  return new URL(`http://[${groups.map((group) => group.toString(16)).join(":")}]`).hostname.slice(1, -1);
}
