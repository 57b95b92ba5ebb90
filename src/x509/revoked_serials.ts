import { Buffer } from "node:buffer";
import { randomInt } from "node:crypto";
import { DerTag, readChildren, readDer, readOid } from "./der.ts";
import { InvalidField } from "./invalid_field.ts";

/** An entry of a serial number of one byte and a UTCTime. */
const MIN_ENTRY_BYTES = 20;
/** A random seed, so that an issuer cannot choose serial numbers that share a slot. */
const SEED = randomInt(0, 2 ** 32);

/** The position of the content of a value. Reused, because a list has hundreds of thousands of values. */
interface Cursor {
  start: number;
  end: number;
}

/**
 * The serial numbers of a revocation list: a hash table of positions in its bytes, because 100,000 strings use four
 * times the memory.
 *
 * Invariant: at most half of the slots are used, so each search ends at a free slot.
 */
export class RevokedSerials {
  /** The number of serial numbers. */
  readonly size: number;
  readonly #bytes: Uint8Array;
  /** For each slot the position of a serial number in the bytes; 0 if the slot is free. */
  readonly #slots: Uint32Array;

  /**
   * Reads the entries (RFC 5280 section 5.1.2.6): the content of revokedCertificates.
   *
   * @throws {InvalidField} If an entry has a critical extension, which is named.
   * @throws {RangeError} If an entry is broken.
   */
  constructor(entries: Uint8Array) {
    this.#bytes = entries;
    const places = readEntries(entries);
    this.#slots = new Uint32Array(2 ** Math.ceil(Math.log2(2 * places.length + 1)));
    let size = 0;
    const value: Cursor = { start: 0, end: 0 };
    for (const place of places) {
      enterSerial(entries, place, value);
      const slot = this.#slotOf(entries, value.start, value.end);
      if (this.#slots[slot] === 0) size++;
      this.#slots[slot] = place;
    }
    this.size = size;
  }

  /** Whether the list holds a serial number, in the form of {@linkcode Certificate.serialNumber}. */
  has(serialNumber: string): boolean {
    const digits = serialNumber.replace(/^0+/, "");
    const bytes = Buffer.from(digits.padStart(Math.max(2, digits.length + digits.length % 2), "0"), "hex");
    return this.#slots[this.#slotOf(bytes, 0, bytes.length)] !== 0;
  }

  /** Whether each serial number of this list also occurs in one of the other lists. */
  isWithin(others: readonly RevokedSerials[]): boolean {
    const value: Cursor = { start: 0, end: 0 };
    for (const place of this.#slots) {
      if (place === 0) continue;
      enterSerial(this.#bytes, place, value);
      const { start, end } = value;
      if (!others.some((other) => other.#slots[other.#slotOf(this.#bytes, start, end)] !== 0)) return false;
    }
    return true;
  }

  /** The slot that holds a number, otherwise the free slot for it. */
  #slotOf(bytes: Uint8Array, start: number, end: number): number {
    const mask = this.#slots.length - 1;
    const value: Cursor = { start: 0, end: 0 };
    for (let slot = hash(bytes, start, end) & mask;; slot = (slot + 1) & mask) {
      const place = this.#slots[slot]!;
      if (place === 0) return slot;
      enterSerial(this.#bytes, place, value);
      if (value.end - value.start === end - start && isSame(this.#bytes, value.start, bytes, start, end)) return slot;
    }
  }
}

/** The position of each serial number. No position is 0, because each number is inside an entry. */
function readEntries(bytes: Uint8Array): Uint32Array {
  const places = new Uint32Array(Math.ceil(bytes.length / MIN_ENTRY_BYTES));
  let count = 0;
  const value: Cursor = { start: 0, end: 0 };
  for (let at = 0; at < bytes.length;) {
    requireTag(enter(bytes, at, bytes.length, value), DerTag.sequence);
    const entryEnd = value.end;
    places[count++] = value.start;
    requireTag(enter(bytes, value.start, entryEnd, value), DerTag.integer);
    requireTag(enter(bytes, value.end, entryEnd, value), DerTag.utcTime, DerTag.generalizedTime);
    if (value.end - at < MIN_ENTRY_BYTES) throw new RangeError("an entry is too short");
    if (hasTrue(bytes, value.end, entryEnd)) requireNoCritical(bytes.subarray(value.end, entryEnd));
    at = entryEnd;
  }
  return places.subarray(0, count);
}

/**
 * Moves the cursor to the content of the value at a position, and returns the tag. Reads like `readDer()`, without
 * objects.
 */
function enter(bytes: Uint8Array, at: number, end: number, value: Cursor): number {
  const lengthByte = bytes[at + 1] ?? 0x80;
  const lengthBytes = lengthByte > 0x80 ? lengthByte - 0x80 : 0;
  if (lengthByte === 0x80 || lengthBytes > 4) throw new RangeError("a length in an entry has an unknown form");
  let length = lengthByte < 0x80 ? lengthByte : 0;
  for (let index = 0; index < lengthBytes; index++) length = length * 256 + (bytes[at + 2 + index] ?? 0);
  value.start = at + 2 + lengthBytes;
  value.end = value.start + length;
  if (value.end > end) throw new RangeError("an entry is truncated");
  return bytes[at]!;
}

/** Moves the cursor to a serial number without its leading zeros. */
function enterSerial(bytes: Uint8Array, place: number, value: Cursor): void {
  enter(bytes, place, bytes.length, value);
  while (value.start < value.end - 1 && bytes[value.start] === 0) value.start++;
}

function requireTag(tag: number, ...allowed: readonly number[]): void {
  if (!allowed.includes(tag)) throw new RangeError(`an entry holds tag ${tag} in place of ${allowed}`);
}

function isSame(list: Uint8Array, at: number, bytes: Uint8Array, start: number, end: number): boolean {
  for (let index = start; index < end; index++) if (list[at + index - start] !== bytes[index]) return false;
  return true;
}

/** The multiplication and shift of MurmurHash2, for each byte. */
function hash(bytes: Uint8Array, start: number, end: number): number {
  let state = SEED;
  for (let at = start; at < end; at++) {
    state = Math.imul(state ^ bytes[at]!, 0x5bd1e995);
    state ^= state >>> 15;
  }
  return state >>> 0;
}

/** Whether the bytes of BOOLEAN TRUE occur. Fast: it may find other bytes, but never misses a critical extension. */
function hasTrue(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at + 2 < end; at++) {
    if (bytes[at] === DerTag.boolean && bytes[at + 1] === 1 && bytes[at + 2] !== 0) return true;
  }
  return false;
}

function requireNoCritical(extensions: Uint8Array): void {
  for (const extension of readChildren(readDer(extensions)[0])) {
    const [id, critical] = readChildren(extension);
    if (critical?.tag === DerTag.boolean && critical.content[0] !== 0) {
      throw new InvalidField(`an entry has the critical extension ${readOid(id)}`);
    }
  }
}
