// HTTP/1.1 on connections of Deno, which has no server for them.
import { Buffer } from "node:buffer";
import type { DenoTlsConn } from "../../src/deno.ts";
import { answer } from "./content.ts";

/** Answers all requests of a connection, in as much of HTTP/1.1 as the soak asks for. */
export async function answerAll(conn: DenoTlsConn): Promise<void> {
  const buffer = new Uint8Array(65_536);
  let early = new Uint8Array(0);
  const more = async () => {
    const length = await conn.read(buffer);
    return length === null ? undefined : buffer.slice(0, length);
  };
  const write = async (bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
  };
  for (;;) {
    let head = "";
    while (!(head = latin1(early)).includes("\r\n\r\n")) {
      const chunk = await more();
      if (!chunk) return;
      early = new Uint8Array([...early, ...chunk]);
    }
    const start = head.indexOf("\r\n\r\n") + 4;
    let left = Number(/\r\ncontent-length: (\d+)/i.exec(head.slice(0, start))?.[1] ?? 0);
    early = early.slice(start);
    const body = async function* () {
      while (left > 0) {
        const chunk = early.length > 0 ? early : await more();
        if (!chunk) throw new Error("the request was cut");
        const taken = chunk.subarray(0, left);
        early = chunk.slice(taken.length);
        left -= taken.length;
        yield taken;
      }
    };
    const { length, chunks } = await answer(head.split(" ")[1]!, body());
    await write(new TextEncoder().encode(`HTTP/1.1 200 OK\r\ncontent-length: ${length}\r\n\r\n`));
    for (const chunk of chunks) await write(chunk);
  }
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}
