import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import test from "node:test";
import { encodeEpollEvent, parseRegistrations } from "../../src/kernel/epoll.ts";

const event = { events: 0x8000_2019, data: 0xfedc_ba98_7654_3210n };
const hex = (arch: string) => Buffer.from(encodeEpollEvent(event, arch)).toString("hex");

test("encodeEpollEvent() packs the structure on x86-64 alone", () => {
  assertEquals(hex("x64"), "19200080" + "1032547698badcfe");
  for (const arch of ["arm64", "riscv64"]) assertEquals(hex(arch), "19200080" + "00000000" + "1032547698badcfe");
});

test("encodeEpollEvent() gives memory of its own", () => {
  for (const arch of ["x64", "arm64"]) {
    const bytes = encodeEpollEvent(event, arch);
    assertEquals([bytes.byteOffset, bytes.byteLength], [0, bytes.buffer.byteLength]);
  }
});

const FDINFO = `pos:\t0
flags:\t02000002
mnt_id:\t17
ino:\t1057
tfd:       11 events:     2019 data:     7f0011223344  pos:0 ino:5a5 sdev:9
tfd:        1 events: 80000019 data: ffffffffffffffff  pos:0 ino:5a6 sdev:9
tfd:      111 events:       19 data:                b  pos:0 ino:5a7 sdev:9
tfd:       12 events:       19 data:                c  pos:0 ino:5a8 sdev:9
tfd:       12 events:     2019 data:                d  pos:0 ino:5a9 sdev:9
tfd: 123456789 events:       19 data:               10  pos:0 ino:5aa sdev:9
`;

test("parseRegistrations() finds a descriptor among others, with all bits", () => {
  const of = (descriptor: number) => parseRegistrations(FDINFO, descriptor);
  assertEquals(of(11), [{ events: 0x2019, data: 0x7f00_1122_3344n }]);
  assertEquals(of(1), [{ events: 0x8000_0019, data: 0xffff_ffff_ffff_ffffn }]);
  assertEquals(of(123_456_789), [{ events: 0x19, data: 0x10n }]);
  assertEquals(of(12), [{ events: 0x19, data: 0xcn }, { events: 0x2019, data: 0xdn }]);
  for (const missing of [2, 1111, 0]) assertEquals(of(missing), []);
});

test("parseRegistrations() finds nothing in a line that is cut off or of another form", () => {
  const whole = "pos:\t0\ntfd:       11 events:     2019 data:     7f0011223344";
  for (const length of [0, 7, 20, 40]) assertEquals(parseRegistrations(whole.slice(0, length), 11), []);
  assertEquals(parseRegistrations("pos:\t0\ntfd:       11 evts: 19 data: 1\n", 11), []);
});
