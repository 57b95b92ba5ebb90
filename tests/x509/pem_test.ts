import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import fc from "fast-check";
import { Buffer } from "node:buffer";
import test from "node:test";
import { encodePem, parsePem, type PemSection, TlsReloadError } from "../../mod.ts";
import { assertRefused } from "../support/refusals.ts";
import { fastestOf } from "../support/timing.ts";

const A = encodePem({ label: "A", der: Buffer.alloc(100, 1) });
const B = encodePem({ label: "B", der: Buffer.alloc(48, 2) });
const C = encodePem({ label: "CERTIFICATE", der: Buffer.alloc(3, 3) });
const CHAIN = A + B + C;
const BYTE_ORDER_MARK = "\ufeff";

/** Labels and bodies, which no tolerance may change. */
function contents(sections: readonly PemSection[]): [string, string][] {
  return sections.map(({ label, der }) => [label, Buffer.from(der).toString("hex")]);
}

test("parsePem() reads label, body and line of each section", () => {
  assertEquals(parsePem(CHAIN).map(({ label, der, headers, line }) => [label, der, headers, line]), [
    ["A", new Uint8Array(100).fill(1), [], 1],
    ["B", new Uint8Array(48).fill(2), [], 6],
    ["CERTIFICATE", new Uint8Array(3).fill(3), [], 9],
  ]);
});

function prefixed(prefix: string, text: string): string {
  return text.replaceAll(/^(?=.)/gm, prefix);
}

const TOLERATED: Record<string, string> = {
  "CRLF": CHAIN.replaceAll("\n", "\r\n"),
  "lone CR": CHAIN.replaceAll("\n", "\r"),
  "mixed line ends": A.replaceAll("\n", "\r\n") + B + C.replaceAll("\n", "\r"),
  "line ends that are mixed within a section": CHAIN.replace(/\n/g, (_, at) => ["\n", "\r\n", "\r"][at % 3]!),
  "a byte order mark": BYTE_ORDER_MARK + CHAIN,
  "a byte order mark before each section, as cat leaves it": [A, B, C].map((each) => BYTE_ORDER_MARK + each).join(""),
  "blank lines everywhere": CHAIN.replaceAll("\n", "\n\n \n\t\n"),
  "white space around lines": CHAIN.replace(/^(?=.)/gm, " \t").replaceAll("\n", " \t\v\f\u00a0\n"),
  "white space within lines": CHAIN.replace(/^[^-]{8}/gm, "$& \t"),
  "no newline at the end": CHAIN.trimEnd(),
  "one line for each body": CHAIN.replace(/(?<=[\w+/=])\n(?=[\w+/=])/g, ""),
  "lines of one character": CHAIN.replace(/^[^-].*$/gm, (line) => [...line].join("\n")),
  "text before, between and after": `# ours\n${A}subject=CN = x\n\n  0 s:CN = x\n---\n${B}---\n${C}--\nbye`,
  "text in Latin-1": "K\ufffdche\n" + CHAIN,
  "Bag Attributes":
    `Bag Attributes\n    localKeyID: 01 02\nKey Attributes: <No Attributes>\n${A}Bag Attributes\n\n${B}issuer=/CN=x\n${C}`,
  "words that only look like a boundary": `-- endpoints --\n${A}--beginners\nTHE END\n${B}BEGIN\n${C}`,
  "comments in dashes":
    `# --- End-entity ---\n${A}# --- End-entity certificate ---\n----- Begin intermediate -----\n${B}-- end\n${C}`,
  "names with two hyphens": `friendlyName: web--end\n${A}friendlyName: key--begin\n${B}${C}`,
  "a section that is commented out": `${A}${prefixed("# ", C)}${B}${C}`,
  "a section that is commented out first, as an old certificate is": `# old one:\n${prefixed("#", C)}${CHAIN}`,
  "sections that are commented out in other ways": `${prefixed("// ", C)}${A}${prefixed("; ", C)}${B}${
    prefixed(" * ", C)
  }${prefixed("> ", C)}${C}${prefixed("%", C)}`,
  "a boundary that is commented out, alone": `# -----BEGIN CERTIFICATE-----\n${A}#-----END CERTIFICATE-----\n${B}${C}`,
  "banners":
    `--BEGIN--\n${A}---- BEGIN ----\n=== BEGIN CERTIFICATE ===\n${B}------- END OF FILE -------\n${C}-----END-----`,
  "banners of five dashes with a space":
    `----- Begin of chain -----\n${A}----- END of leaf -----\n${B}----- begin -----\n${C}`,
  "comments that hold four dashes": `# ---- END\n${A}## ----BEGIN CERTIFICATE---- ##\n${B}a ---- BEGIN b\n${C}`,
  "a boundary in the midst of a line": `see -----BEGIN CERTIFICATE-----\n${A}the -----END A----- above\n${B}${C}`,
  "a public key of SSH2": `---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----\n${A}${B}${C}`,
  "rules of dashes": `${"-".repeat(70)}\n${A}------\n${B}-----\n- - -\n${C}`,
};

for (const [what, text] of Object.entries(TOLERATED)) {
  test(`parsePem() tolerates ${what}`, () => {
    assertEquals(contents(parsePem(text)), contents(parsePem(CHAIN)));
    assertEquals(contents(parsePem(Buffer.from(text))), contents(parsePem(CHAIN)));
  });
}

test("parsePem() counts lines the same with any line ends", () => {
  const lines = (text: string) => parsePem(text).map(({ line }) => line);
  assertEquals(lines(`one\n\n${B}${B}`), [3, 6]);
  assertEquals(lines(`one\r\n\r\n${B}${B}`.replaceAll(/\r?\n/g, "\r\n")), [3, 6]);
  assertEquals(lines(`one\n\n${B}${B}`.replaceAll("\n", "\r")), [3, 6]);
});

test("parsePem() reads the headers of a legacy encrypted key", () => {
  const headers = ["Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-256-CBC,00112233445566778899AABBCCDDEEFF"];
  const section = { label: "RSA PRIVATE KEY", headers, der: new Uint8Array(48).fill(7), line: 1 };
  assertEquals(parsePem(encodePem(section)), [section]);
});

test("parsePem() finds nothing in a text without boundaries", () => {
  for (const text of ["", "\n", "hello", "0", "0\x010000", "=====", "TUlJQkl6Q0I=", BYTE_ORDER_MARK]) {
    assertEquals(parsePem(text), []);
    assertEquals(parsePem(Buffer.from(text)), []);
  }
});

test("parsePem() reads a view of a larger buffer", () => {
  const bytes = Buffer.from(`garbage${CHAIN}garbage`);
  assertEquals(contents(parsePem(bytes.subarray(7, bytes.length - 7))), contents(parsePem(CHAIN)));
});

interface BadPem {
  readonly text: string;
  readonly line: number;
  readonly message: RegExp;
}

const noBoundary = /a BEGIN or END needs five dashes on each side and a line of its own$/;
const REFUSED: Record<string, BadPem> = {
  "a section without END": {
    text: A + B.replace(/-----END.*/, "") + "bye",
    line: 6,
    message: /section "B" has no END$/,
  },
  "a section without END before the next": {
    text: A + B.replace(/-----END.*/, "") + C,
    line: 9,
    message: /section "B" of line 6 has no END before the next BEGIN$/,
  },
  "a section without BEGIN": {
    text: A + B.replace(/-----BEGIN.*/, ""),
    line: 8,
    message: /END of "B" has no BEGIN$/,
  },
  "an END with another label": {
    text: B + C.replace("END CERTIFICATE", "END PRIVATE KEY"),
    line: 6,
    message: /section "CERTIFICATE" of line 4 ends as "PRIVATE KEY"$/,
  },
  "a BEGIN within a section": {
    text: C.replace("AwMD", `AwMD\n${A}`),
    line: 3,
    message: /section "CERTIFICATE" of line 1 has no END before the next BEGIN$/,
  },
  "an empty section": { text: A + C.replace("AwMD\n", ""), line: 6, message: /section "CERTIFICATE" is empty$/ },
  "a section of blank lines": { text: C.replace("AwMD", "\n \n"), line: 1, message: /section "CERTIFICATE" is empty$/ },
  "a section of headers": { text: C.replace("AwMD", "A: b\n"), line: 1, message: /section "CERTIFICATE" is empty$/ },
  "a character that is not base64": {
    text: A + B.replace("AgIC\n", "Ag_C\n"),
    line: 7,
    message: /section "B" is not base64$/,
  },
  "a character that is not base64 far down": {
    text: A.replace("AQ==", "AQ*="),
    line: 4,
    message: /section "A" is not base64$/,
  },
  "headers without a blank line after them": {
    text: A + C.replace("AwMD", "A: b\nAwMD"),
    line: 8,
    message: /section "CERTIFICATE" needs a blank line after its headers$/,
  },
  "a header after the body": { text: C.replace("AwMD", "AwMD\nA: b"), line: 3, message: /is not base64$/ },
  "base64 of the URL alphabet": { text: C.replace("AwMD", "AwM-"), line: 2, message: /is not base64$/ },
  "base64 without its padding": { text: C.replace("AwMD", "AwM"), line: 1, message: /is not base64$/ },
  "base64 with padding in its midst": { text: C.replace("AwMD", "Aw==\nAwMD"), line: 1, message: /is not base64$/ },
  "base64 with too much padding": { text: C.replace("AwMD", "AwMD===="), line: 1, message: /is not base64$/ },
  "base64 with bits to spare": { text: C.replace("AwMD", "AwN="), line: 1, message: /is not base64$/ },
  "one character too many": { text: C.replace("AwMD", "AwMDA"), line: 1, message: /is not base64$/ },
  "an END and a BEGIN on one line": {
    text: (A + B).replace("-----\n-----", "----------"),
    line: 5,
    message: noBoundary,
  },
  "an END at the end of the body": { text: B.replace("\n-----END", "-----END"), line: 2, message: noBoundary },
  "a body after BEGIN on its line": {
    text: A + B.replace("BEGIN B-----\n", "BEGIN B-----"),
    line: 6,
    message: noBoundary,
  },
  "a file whose newlines became spaces": { text: C.replaceAll("\n", " "), line: 1, message: noBoundary },
  "a file whose newlines became backslashes and n": { text: C.replaceAll("\n", "\\n"), line: 1, message: noBoundary },
  "four dashes before and after": { text: C.replaceAll("-----", "----"), line: 1, message: noBoundary },
  "four dashes before": { text: A + C.replaceAll(/^-/gm, ""), line: 6, message: noBoundary },
  "four dashes after": { text: A + C.replaceAll(/-$/gm, ""), line: 6, message: noBoundary },
  "six dashes": { text: A + C.replaceAll("-----", "------"), line: 6, message: noBoundary },
  "dashes that a word processor made": {
    text: A + C.replaceAll("-----", "\u2014\u2013"),
    line: 6,
    message: noBoundary,
  },
  "dashes that are hyphens": { text: A + C.replaceAll("-", "\u2010"), line: 6, message: noBoundary },
  "dashes that are minus signs": { text: A + C.replaceAll("-", "\u2212"), line: 6, message: noBoundary },
  "dashes of full width": { text: A + C.replaceAll("-", "\uff0d"), line: 6, message: noBoundary },
  "a space after the dashes": { text: A + C.replaceAll("-----B", "----- B"), line: 6, message: noBoundary },
  "no space before the label": { text: A + C.replaceAll(" CERT", "CERT"), line: 6, message: noBoundary },
  "two spaces before the label": { text: A + C.replaceAll(" CERT", "  CERT"), line: 6, message: noBoundary },
  "a space after the label": { text: A + C.replaceAll("TE-----", "TE -----"), line: 6, message: noBoundary },
  "a tab before the label": { text: A + C.replaceAll(" CERT", "\tCERT"), line: 6, message: noBoundary },
  "a no-break space before the label": { text: A + C.replaceAll(" CERT", "\u00a0CERT"), line: 6, message: noBoundary },
  "a label in other letters": { text: A + C.replaceAll("CERT", "\u0421ERT"), line: 6, message: noBoundary },
  "BEGIN and END in small letters": {
    text: A + C.replace("BEGIN", "begin").replace("END", "end"),
    line: 6,
    message: noBoundary,
  },
  "BEGIN and END with one capital": {
    text: A + C.replace("BEGIN CERTIFICATE", "Begin Certificate").replace("END CERTIFICATE", "End Certificate"),
    line: 6,
    message: noBoundary,
  },
  "a key in small letters": {
    text: A + C.replace(/BEGIN.*|END.*/g, (text) => text.replace("CERTIFICATE", "PRIVATE KEY").toLowerCase()),
    line: 6,
    message: noBoundary,
  },
  "a section that OpenPGP has escaped": { text: A + C.replaceAll(/^(?=-)/gm, "- "), line: 6, message: noBoundary },
  "a zero-width space before BEGIN": { text: A + C.replaceAll("-----B", "\u200b-----B"), line: 6, message: noBoundary },
  "a line separator before BEGIN": { text: A.trimEnd() + "\u2028" + C, line: 5, message: noBoundary },
  "sections that are indented before one that is not": {
    text: prefixed("  ", A) + B + C,
    line: 6,
    message: /the section of line 1 is indented$/,
  },
  "a BEGIN that is commented out without its END": {
    text: A + C.replace("-----BEGIN", "#-----BEGIN"),
    line: 8,
    message: /END of "CERTIFICATE" has no BEGIN$/,
  },
  "an END that is commented out without its BEGIN": {
    text: A + C.replace("-----END", "#-----END"),
    line: 8,
    message: noBoundary,
  },
  "a commented-out line in a body": { text: A + B.replace("AgIC", "#gIC"), line: 7, message: /is not base64$/ },
  "a file that ends within BEGIN": { text: A + "-----BEGIN CERTI", line: 6, message: noBoundary },
};

for (const [what, { text, line, message }] of Object.entries(REFUSED)) {
  test(`parsePem() refuses ${what}`, async () => {
    await assertRefused(() => parsePem(text), "PEM_INVALID", { line, message });
    await assertRefused(() => parsePem(Buffer.from(text)), "PEM_INVALID", { line, message });
  });
}

test("parsePem() names the file", async () => {
  const file = { path: "chain.pem", bytes: Buffer.from("\n" + C.replace("AwMD\n", "")) };
  const message = /^Cannot parse PEM in "chain\.pem" at line 2: section "CERTIFICATE" is empty$/;
  await assertRefused(() => parsePem(file), "PEM_INVALID", { path: "chain.pem", line: 2, message });
});

test("parsePem() does not quote a label that may be a secret", async () => {
  const text = "-----BEGIN PRIVATE KEYMIGHAgEAMBMGByqGSM49AgEGCCqGSM49-----\nAwMD\n";
  const error = await assertRefused(() => parsePem(text), "PEM_INVALID", { line: 1 });
  assert(!error.message.includes("MIGH"), error.message);
});

for (const byteOrderMark of ["", BYTE_ORDER_MARK]) {
  const littleEndian = Buffer.from(byteOrderMark + CHAIN, "utf16le");
  const bigEndian = Buffer.from(littleEndian).swap16();
  const which = byteOrderMark === "" ? "without a byte order mark" : "with a byte order mark";
  for (const [name, bytes] of Object.entries({ littleEndian, bigEndian })) {
    test(`parsePem() recognises UTF-16 ${which}, ${name}`, async () => {
      const message = /^Cannot parse PEM: this is UTF-16; save it as UTF-8$/;
      await assertRefused(() => parsePem(bytes), "PEM_INVALID", { message });
      await assertRefused(() => parsePem(bytes.toString()), "PEM_INVALID", { message });
      await assertRefused(() => parsePem(Buffer.concat([Buffer.from(A), bytes])), "PEM_INVALID", { message });
    });
  }
}

test("parsePem() refuses binary content", async () => {
  const message = /this is binary, not text$/;
  for (
    const bytes of [new Uint8Array(1), new Uint8Array(5000), Buffer.from(`${CHAIN}\0`), Buffer.from("\x7fELF\x02\0")]
  ) {
    await assertRefused(() => parsePem(bytes), "PEM_INVALID", { message });
  }
});

// At these sizes anything but linear work would take hours: a test that ends has shown that it is linear.
const SIZE = 2 * 1024 * 1024;
const HUGE: Record<string, { readonly text: string; readonly sections?: number; readonly line?: number }> = {
  "a body without END": { text: "-----BEGIN A-----\n" + "QUFB\n".repeat(SIZE / 5), line: 1 },
  "a line without END": { text: "-----BEGIN A-----\n" + "A".repeat(SIZE), line: 1 },
  "headers without END": { text: "-----BEGIN A-----\n" + "A: b\n".repeat(SIZE / 5), line: 1 },
  "one header": { text: "-----BEGIN A-----\n" + "A".repeat(SIZE) + ":", line: 1 },
  "one line of base64": { text: encodeLine("A".repeat(SIZE)), sections: 1 },
  "one line of bad base64": { text: encodeLine("A".repeat(SIZE) + "*"), line: 2 },
  "base64 with spaces": { text: encodeLine("A ".repeat(SIZE / 2)), sections: 1 },
  "blank lines": { text: "\n".repeat(SIZE), sections: 0 },
  "blank lines in a section": { text: encodeLine("\n".repeat(SIZE / 2) + "QUFB" + "\n".repeat(SIZE / 2)), sections: 1 },
  "dashes": { text: "-".repeat(SIZE), sections: 0 },
  "lines of dashes": { text: "-----\n".repeat(SIZE / 6), sections: 0 },
  "dashes and spaces": { text: "-- ".repeat(SIZE / 3), sections: 0 },
  "spaces after dashes": { text: "--" + " ".repeat(SIZE) + "x", sections: 0 },
  "beginnings in small letters": { text: "-- begin ".repeat(SIZE / 9), sections: 0 },
  "white space": { text: " ".repeat(SIZE) + "x" + " ".repeat(SIZE), sections: 0 },
  "a label": { text: `-----BEGIN ${"A".repeat(SIZE)}-----`, line: 1 },
  "a label of many words": { text: `-----BEGIN ${"A-B ".repeat(SIZE)}C-----`, line: 1 },
  "a label that never ends": { text: `-----BEGIN ${"A-B ".repeat(SIZE)}`, line: 1 },
  "many sections": { text: "-----BEGIN A-----\nQUFB\n-----END A-----\n".repeat(100_000), sections: 100_000 },
  "comments": { text: "#-----BEGIN A-----\n".repeat(SIZE / 19), sections: 0 },
  "boundaries of other dashes": { text: "\u2014\u2014 BEGIN \u2014\n".repeat(SIZE / 11), sections: 0 },
  "dashes around white space": { text: "- ".repeat(100) + "\n" + "-\t ".repeat(SIZE / 3), sections: 0 },
  "many boundaries": { text: "-----BEGIN A-----\n".repeat(SIZE / 18), line: 2 },
};

function encodeLine(body: string): string {
  return `-----BEGIN A-----\n${body}\n-----END A-----\n`;
}

for (const [what, { text, sections, line }] of Object.entries(HUGE)) {
  test(`parsePem() takes linear time for ${what}`, async () => {
    if (sections !== undefined) assertEquals(parsePem(text).length, sections);
    else await assertRefused(() => parsePem(text), "PEM_INVALID", { line });
  });
}

test("parsePem() refuses 16 MiB of BEGIN lines within 200 ms", async () => {
  const text = "-----BEGIN CERTIFICATE-----\n".repeat(16 * 1024 * 1024 / 28);
  for (const input of [text, Buffer.from(text)]) {
    const fastest = await fastestOf(5, () => assertRefused(() => parsePem(input), "PEM_INVALID", { line: 2 }));
    assert(fastest < 200, `${fastest} ms`);
  }
});

test("encodePem() writes strict RFC 7468 text", () => {
  const text = encodePem({ label: "PUBLIC KEY", der: Buffer.alloc(97, 255) });
  const line = "/".repeat(64);
  assertEquals(text, `-----BEGIN PUBLIC KEY-----\n${line}\n${line}\n/w==\n-----END PUBLIC KEY-----\n`);
});

const labelWord = fc.stringMatching(/^[!-,.-~]{1,8}$/);
const label = fc.array(labelWord, { maxLength: 4 }).chain((words) =>
  fc.constantFrom(" ", "-").map((joint) => words.join(joint))
);
const section = fc.record({ label, der: fc.uint8Array({ minLength: 1, maxLength: 300 }) });

test("parsePem() reads the output of encodePem(), with any line ends and any text between sections", () => {
  const lineEnd = fc.constantFrom("\n", "\r", "\r\n");
  const between = fc.stringMatching(/^[^-\u2010-\u2015\u2212\0]{0,40}$/);
  fc.assert(
    fc.property(fc.array(fc.tuple(section, lineEnd, between)), (parts) => {
      const text = parts.map(([each, end, after]) => `${encodePem(each).replaceAll("\n", end)}${after}\n`).join("");
      assertEquals(contents(parsePem(text)), contents(parts.map(([each]) => ({ ...each, headers: [], line: 0 }))));
    }),
    { seed: 1 },
  );
});

/** Asserts that a text is read or refused, and nothing else happens. */
function assertReadOrRefused(input: string | Uint8Array): void {
  try {
    parsePem(input);
  } catch (error) {
    assertInstanceOf(error, TlsReloadError);
    assertEquals(error.code, "PEM_INVALID");
  }
}

test("parsePem() throws only TlsReloadError for any input", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 500 }), assertReadOrRefused), { seed: 1, numRuns: 1000 });
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 500 }), assertReadOrRefused), {
    seed: 1,
    numRuns: 1000,
  });
});

const fragment = fc.constantFrom(
  "-----",
  "BEGIN",
  "END",
  " ",
  "A",
  "B",
  "\n",
  "\r",
  "\t",
  "QUFB",
  "=",
  ":",
  "-",
  "\ufeff",
);

test("parsePem() throws only TlsReloadError for fragments of PEM", () => {
  const text = fc.array(fragment, { maxLength: 60 }).map((fragments) => fragments.join(""));
  fc.assert(fc.property(text, assertReadOrRefused), { seed: 1, numRuns: 5000 });
});

test("parsePem() throws only TlsReloadError for a file with changed bytes", () => {
  const edit = fc.tuple(fc.nat(CHAIN.length), fc.nat(40), fc.oneof(fragment, fc.string({ unit: "binary" })));
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 5 }), (edits) => {
      const text = edits.reduce((text, [at, gone, put]) => text.slice(0, at) + put + text.slice(at + gone), CHAIN);
      assertReadOrRefused(text);
    }),
    { seed: 1, numRuns: 2000 },
  );
});

const PUT = ["", "-", " ", "\n", "\r", "\t", "A", "=", ":", "#", "/", "\0", "\ufeff", "\u2014", "é"];

test("parsePem() loses no section when one character is inserted, removed or replaced anywhere", () => {
  const expected = parsePem(CHAIN);
  for (let at = 0; at <= CHAIN.length; at++) {
    for (const put of PUT) {
      for (const gone of [0, 1]) {
        const text = CHAIN.slice(0, at) + put + CHAIN.slice(at + gone);
        let sections: PemSection[];
        try {
          sections = parsePem(text);
        } catch (error) {
          assertInstanceOf(error, TlsReloadError);
          continue;
        }
        const labels = (of: readonly PemSection[]) => of.map(({ label }) => label);
        assertEquals(labels(sections), labels(expected), JSON.stringify(text));
        // Base64 has no checksum: another letter in its place is another body, but no fewer sections.
        if (put === "" || gone === 0) assertEquals(contents(sections), contents(expected), JSON.stringify(text));
      }
    }
  }
});
