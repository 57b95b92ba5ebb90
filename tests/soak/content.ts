// What is asked and answered in the soak, so that both ends can tell whether each byte is right.
import { createHash } from "node:crypto";

const BLOCK_BYTES = 65_536;

/** Bytes that nobody has to keep: each block repeats the hash of its own place. */
export function* content(seed: string, length: number): Generator<Uint8Array<ArrayBuffer>> {
  for (let at = 0; at < length; at += BLOCK_BYTES) {
    const hash = createHash("sha256").update(`${seed} ${at}`).digest();
    const block = new Uint8Array(Math.min(BLOCK_BYTES, length - at));
    for (let offset = 0; offset < block.length; offset += hash.length) {
      block.set(hash.subarray(0, block.length - offset), offset);
    }
    yield block;
  }
}

/** SHA-256 of all that comes. */
export async function digest(chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of chunks) hash.update(chunk);
  return hash.digest("hex");
}

/** What a server sends back. */
export interface Answer {
  readonly length: number;
  readonly chunks: Iterable<Uint8Array<ArrayBuffer>>;
}

/** Answers for every server: `/echo`, `/digest` of what was sent, `/content?seed=…&length=…`. */
export async function answer(url: string, body: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<Answer> {
  const { pathname, searchParams } = new URL(url, "https://localhost");
  if (pathname === "/content") {
    const length = Number(searchParams.get("length"));
    return { length, chunks: content(searchParams.get("seed") ?? "", length) };
  }
  if (pathname === "/digest") return whole(new TextEncoder().encode(await digest(body)));
  const parts: Uint8Array[] = [];
  for await (const chunk of body) parts.push(chunk);
  return whole(new Uint8Array(await new Blob(parts as Uint8Array<ArrayBuffer>[]).arrayBuffer()));
}

function whole(bytes: Uint8Array<ArrayBuffer>): Answer {
  return { length: bytes.length, chunks: [bytes] };
}
