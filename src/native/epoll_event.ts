/** What epoll reports of a descriptor, and how: the payload of `struct epoll_event`. */
export interface EpollEvent {
  /** The events that are waited for: a set of 32 bits. */
  readonly events: number;
  /** What the runtime finds its own object by: 64 bits that only the runtime understands. */
  readonly data: bigint;
}

/**
 * Encodes `struct epoll_event`. The kernel packs this structure on x86-64 alone (`EPOLL_PACKED` in
 * `include/uapi/linux/eventpoll.h`); elsewhere `data` is aligned to 8 bytes.
 *
 * @param event The payload.
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
 * @param fdinfo The text: a megabyte for 15,000 connections, so it is searched and not split. A string, because Deno
 * searches bytes four times as slowly.
 * @param descriptor Whose registrations.
 * @returns All of them: none where it is not registered, several where the descriptor number was reused while a
 * duplicate kept an older registration alive.
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

const LONGEST_LINE = 80;
