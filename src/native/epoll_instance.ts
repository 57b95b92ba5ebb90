import { Buffer } from "node:buffer";
import process from "node:process";
import { encodeEpollEvent, type EpollEvent, parseRegistrations } from "./epoll_event.ts";
import { KernelError } from "./kernel.ts";
import { type Libc, newMemory } from "./libc.ts";

const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const FIRST_TEXT_BYTES = 4096;

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

  /**
   * Makes one.
   *
   * @param libc The C library.
   * @param descriptor A descriptor of the instance.
   * @param file A descriptor of its file in `/proc/self/fdinfo`.
   */
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
   *
   * @param tableSize The size of the descriptor table.
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
