import { Buffer } from "node:buffer";
import process from "node:process";
import { type EpollEvent, KernelError } from "./kernel.ts";
import { type Libc, newMemory } from "./libc.ts";

const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const FIRST_TEXT_BYTES = 4096;
/** The part of a line of `/proc/self/fdinfo` that is parsed. */
const LONGEST_LINE = 80;

/**
 * The epoll instance that an event loop waits on.
 *
 * Its file in `/proc/self/fdinfo` stays open, so that registrations can be read when no descriptor is free.
 */
export class EpollInstance {
  readonly #libc: Libc;
  readonly #descriptor: number;
  readonly #file: number;
  #text = newMemory(FIRST_TEXT_BYTES);
  /** The size of the descriptor table when the kernel had memory for its registrations. */
  #preparedSize = 0;

  /** The file is a descriptor of that in `/proc/self/fdinfo`. */
  constructor(libc: Libc, descriptor: number, file: number) {
    this.#libc = libc;
    this.#descriptor = descriptor;
    this.#file = file;
  }

  /** A descriptor that stays open as long as the instance is used. */
  get file(): number {
    return this.#file;
  }

  /**
   * The kernel writes the text of all registrations to memory that doubles until the text fits, each time from its
   * beginning, and keeps the memory. So the first reading of a table that has grown takes as long as two or three.
   */
  async prepare(tableSize: number): Promise<void> {
    if (tableSize <= this.#preparedSize) return;
    this.#preparedSize = tableSize;
    await this.#libc.readAside(this.#file);
  }

  /** How descriptors are registered, for each in order. */
  registrations(descriptors: readonly number[]): EpollEvent[][] {
    const text = this.#read();
    return descriptors.map((descriptor) => parseRegistrations(text, descriptor));
  }

  /** Registers a descriptor. */
  register(descriptor: number, event: EpollEvent): void {
    const bytes = encodeEpollEvent(event, process.arch);
    const result = this.#libc.epoll_ctl(this.#descriptor, EPOLL_CTL_ADD, descriptor, bytes);
    if (result < 0) throw new KernelError("register");
  }

  /** Ends the registration of a descriptor. */
  unregister(descriptor: number): void {
    // The event is not read.
    const result = this.#libc.epoll_ctl(this.#descriptor, EPOLL_CTL_DEL, descriptor, this.#text);
    if (result < 0) throw new KernelError("unregister");
  }

  #read(): string {
    for (let length = 0;;) {
      const room = this.#text.subarray(length);
      const count = this.#libc.pread(this.#file, room, room.length, length);
      if (count <= 0) return Buffer.from(this.#text.buffer).toString("latin1", 0, length);
      length += count;
      if (length < this.#text.length) continue;
      const larger = newMemory(2 * this.#text.length);
      larger.set(this.#text);
      this.#text = larger;
    }
  }
}

/**
 * Encodes `struct epoll_event`. The kernel packs this structure on x86-64 alone (`EPOLL_PACKED` in
 * `include/uapi/linux/eventpoll.h`); elsewhere `data` is aligned to 8 bytes.
 *
 * @param arch The architecture, as `process.arch` names it.
 * @returns 12 bytes on x86-64, else 16. Never a view of a shared buffer: a foreign function may read it.
 */
export function encodeEpollEvent({ events, data }: EpollEvent, arch: string): Uint8Array<ArrayBuffer> {
  const dataOffset = arch === "x64" ? 4 : 8;
  const view = new DataView(new ArrayBuffer(dataOffset + 8));
  // Linux runs on x86-64, arm64 and riscv64 in little-endian order, and no runtime here on another one.
  view.setUint32(0, events, true);
  view.setBigUint64(dataOffset, data, true);
  return new Uint8Array(view.buffer);
}

/**
 * Finds the registrations of descriptors in the text of `/proc/self/fdinfo/N` of an epoll descriptor, where each one is
 * a line `tfd:  FD events:  HEX data:  HEX …` (`ep_show_fdinfo` in `fs/eventpoll.c`).
 *
 * @param fdinfo A megabyte for 15,000 connections, so it is searched and not split. A string, because Deno searches
 * bytes four times as slowly.
 * @returns None where the descriptor is not registered, several where its number was reused while a duplicate kept an
 * older registration alive.
 */
export function parseRegistrations(fdinfo: string, descriptor: number): EpollEvent[] {
  const start = `\ntfd: ${String(descriptor).padStart(8)} `;
  const found: EpollEvent[] = [];
  for (let at = fdinfo.indexOf(start); at >= 0; at = fdinfo.indexOf(start, at + 1)) {
    const line = fdinfo.slice(at + start.length, at + start.length + LONGEST_LINE);
    const [, events, data] = /^events:\s+([0-9a-f]+) data:\s+([0-9a-f]+)\b/.exec(line) ?? [];
    if (events && data) found.push({ events: Number.parseInt(events, 16), data: BigInt(`0x${data}`) });
  }
  return found;
}
