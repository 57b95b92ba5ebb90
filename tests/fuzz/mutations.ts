// Inputs made of sound ones, for the runs that no coverage guides.
import fc from "fast-check";
import { Buffer } from "node:buffer";
import { encodePem, parsePem } from "../../src/x509/pem.ts";

/** Changes an input at a place, with a few bytes to do it with; the same place, where it is shorter than that. */
type Mutation = (input: Buffer, at: number, bytes: Uint8Array) => Uint8Array;

const MUTATIONS: Readonly<Record<string, Mutation>> = {
  "flips a bit": (input, at, [bit = 0]) => replaced(input, at, [input[at]! ^ (1 << bit % 8)]),
  "writes over": (input, at, bytes) => replaced(input, at, bytes),
  "inserts": (input, at, bytes) => Buffer.concat([input.subarray(0, at), bytes, input.subarray(at)]),
  "cuts out": (input, at, { length }) => Buffer.concat([input.subarray(0, at), input.subarray(at + length)]),
  "cuts off": (input, at) => input.subarray(0, at),
  "doubles what follows": (input, at, [length = 0]) =>
    Buffer.concat([input.subarray(0, at + length), input.subarray(at)]),
  "repeats": (input, at, [length = 0, times = 0]) => {
    const part = input.subarray(at, at + 1 + length);
    return Buffer.concat([input.subarray(0, at), ...Array(1 + times % 20).fill(part), input.subarray(at)]);
  },
  "changes a length of DER": (input, at, [length = 0]) => {
    const lengths = lengthsIn(input);
    return lengths.length === 0 ? input : replaced(input, lengths[at % lengths.length]!, [length]);
  },
  "changes the line ends": (input, at, [which = 0]) => {
    const lineEnd = ["\r\n", "\r", "\n\n", " \n", "\n\t", ""][which % 6]!;
    const text = input.toString("latin1");
    return Buffer.from(text.slice(0, at) + text.slice(at).replaceAll("\n", lineEnd), "latin1");
  },
  "doubles a line": (input, at) => {
    const lines = input.toString("latin1").split("\n");
    lines.splice(at % lines.length, 0, lines[at % lines.length]!);
    return Buffer.from(lines.join("\n"), "latin1");
  },
};

function replaced(input: Buffer, at: number, bytes: Iterable<number>): Buffer {
  const copy = Buffer.from(input);
  copy.set([...bytes].slice(0, Math.max(0, copy.length - at)), Math.min(at, copy.length));
  return copy;
}

/** Where the lengths stand in what may be DER, at every depth. */
function lengthsIn(input: Uint8Array, from = 0, end: number = input.length): number[] {
  const lengths: number[] = [];
  for (let at = from; at + 1 < end;) {
    const [tag, short] = [input[at]!, input[at + 1]!];
    const start = at + 2 + (short > 0x80 ? short - 0x80 : 0);
    const length = short > 0x80 ? input.subarray(at + 2, start).reduce((sum, byte) => sum * 256 + byte, 0) : short;
    if (start + length > end) break;
    for (let place = at + 1; place < start; place++) lengths.push(place);
    if (tag & 0x20) lengths.push(...lengthsIn(input, start, start + length));
    at = start + length;
  }
  return lengths;
}

/** The same mutations inside the base64 of a section, where those of the text do not reach. */
function inside(mutation: Mutation): Mutation {
  return (input, at, bytes) => {
    try {
      const sections = parsePem(input);
      const which = at % sections.length;
      const text = sections.map(({ der, ...section }, index) => {
        const inner = Buffer.from(der);
        const changed = index === which ? mutation(inner, at % (inner.length || 1), bytes) : inner;
        return encodePem({ ...section, der: changed });
      });
      return Buffer.from(text.join(""));
    } catch {
      return input;
    }
  };
}

/** Inputs that are a few mutations away from sound ones. */
export function mutated(seeds: readonly Uint8Array[]): fc.Arbitrary<Uint8Array> {
  const all = Object.values(MUTATIONS);
  const mutation = fc.constantFrom(...all, ...all.map(inside));
  const step = fc.tuple(mutation, fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 8 }));
  return fc.tuple(fc.constantFrom(...seeds), fc.array(step, { minLength: 1, maxLength: 5 }))
    .map(([seed, steps]) =>
      steps.reduce<Uint8Array>((input, [mutate, at, bytes]) => {
        return mutate(Buffer.from(input), at % (input.length || 1), bytes);
      }, seed)
    );
}
