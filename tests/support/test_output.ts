/** How many tests of a run passed, failed and were skipped. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** How Deno, Bun and Node (TAP) state their counts, in this order. */
const COUNTS = {
  passed: [/^\w+ \| (\d+) passed/m, /^\s*(\d+) pass$/m, /^# pass (\d+)$/m],
  failed: [/^\w+ \| .* (\d+) failed/m, /^\s*(\d+) fail$/m, /^# fail (\d+)$/m],
  skipped: [/^\w+ \| .* (\d+) ignored/m, /^\s*(\d+) skip$/m, /^# skipped (\d+)$/m],
};
/** How each of them reports a test that passed or was skipped. */
const PASSES = [
  /^.* \.\.\. (?:ok|ignored) \(.*\)\n/gm,
  /^\((?:pass|skip)\) .*\n/gm,
  /^# Subtest: .*\n(?:ok .*\n {2}---\n(?: {2}.*\n)*? {2}\.\.\.\n)?/gm,
];

/** Reads the counts that a test runner has printed; what it did not print is 0. */
export function countsIn(output: string): Counts {
  const count = (patterns: readonly RegExp[]) =>
    Number(patterns.map((pattern) => pattern.exec(output)?.[1]).find(Boolean) ?? 0);
  return { passed: count(COUNTS.passed), failed: count(COUNTS.failed), skipped: count(COUNTS.skipped) };
}

/** The output of a test runner without the tests that passed, so that the failures can be found. */
export function failuresIn(output: string): string {
  return PASSES.reduce((text, pass) => text.replace(pass, ""), output).trim();
}

/** Adds counts up. */
export function sumOf(counts: readonly Counts[]): Counts {
  const sum = (key: keyof Counts) => counts.reduce((total, each) => total + each[key], 0);
  return { passed: sum("passed"), failed: sum("failed"), skipped: sum("skipped") };
}
