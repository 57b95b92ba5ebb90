// A roll-over as SVG, readable on a light and on a dark page: which authorities each process trusts over time, and how many
// connections each authority has in all of them.
import { escape, text } from "./chart.ts";
import type { Authority, Look, RollOver } from "./roll_over.ts";

const [WIDTH, LEFT, RIGHT, TOP, LANE, CURVES] = [880, 96, 24, 92, 24, 110];
/** Plain fills, as not everything that shows SVG knows CSS variables. */
const STYLE = `
  text { font: 13px system-ui, sans-serif; fill: #1f2328 } .heading { font-weight: 600 } .value { fill: #59636e }
  .page { fill: #fff } .lane { fill: #eaeef2 } .old { fill: #d4811b } .next { fill: #0a7cff }
  .line { fill: none; stroke-width: 2 } .line.old { stroke: #d4811b } .line.next { stroke: #0a7cff }
  .step { stroke: #59636e; stroke-dasharray: 3 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .value { fill: #9198a1 } .page { fill: #0d1117 } .lane { fill: #21262d }
    .old { fill: #e3a341 } .next { fill: #4493f8 } .line.old { stroke: #e3a341 } .line.next { stroke: #4493f8 }
    .line { fill: none } .step { stroke: #9198a1 }
  }`;
/** The steps that are marked. */
const MARKS: Readonly<Record<string, string>> = {
  "both are put": "next added",
  "all trust both": "all trust both: clients renew",
  "the old one is out of use": "old out of use: removed",
};
/** The names of marks stand in rows of their own, because marks may be close together. */
const NAME_ROW = 16;

/** Draws a roll-over. */
export function timelineOf({ looks, steps }: RollOver, [old, next]: readonly [Authority, Authority]): string {
  const end = looks.at(-1)!.atMs;
  const x = (atMs: number) => LEFT + (atMs / end) * (WIDTH - LEFT - RIGHT);
  const members = [...new Set(looks.map(({ member }) => member))];
  const classes = [["old", old.ca.fingerprint256], ["next", next.ca.fingerprint256]] as const;
  const bottom = TOP + members.length * LANE;
  const lanes = members.flatMap((member, index) => {
    const y = TOP + index * LANE;
    const own = looks.filter((look) => look.member === member);
    return [
      text(LEFT - 8, y + 16, member, "", "end"),
      rect("lane", LEFT, y + 2, WIDTH - LEFT - RIGHT, LANE - 4),
      ...classes.flatMap(([kind, fingerprint256], half) => {
        const height = (LANE - 4) / 2;
        return spansOf(own, fingerprint256).map(([from, to]) =>
          rect(kind, x(from), y + 2 + half * height, x(to) - x(from), height)
        );
      }),
    ];
  });
  const rounds = roundsOf(looks, members.length);
  const most = Math.max(...rounds.flatMap((round) => classes.map(([, each]) => connectionsOf(round, each))), 1);
  const baseline = bottom + 28 + CURVES;
  const curves = classes.map(([kind, fingerprint256]) => {
    const points = rounds.map((round) => {
      const y = baseline - (connectionsOf(round, fingerprint256) / most) * CURVES;
      return `${x(round[0]!.atMs).toFixed(1)},${y.toFixed(1)}`;
    });
    return `<polyline class="line ${kind}" points="${points.join(" ")}"/>`;
  });
  const marks = steps.filter(({ name }) => name in MARKS).flatMap(({ atMs, name }, index) => {
    const at = x(atMs).toFixed(1);
    const isLate = x(atMs) > WIDTH / 2;
    const y = TOP - 44 + index * NAME_ROW;
    return [
      `<line class="step" x1="${at}" x2="${at}" y1="${y + 4}" y2="${baseline}"/>`,
      text(x(atMs), y, `${MARKS[name]}, ${(atMs / 1_000).toFixed(1)} s`, "value", isLate ? "end" : "start"),
    ];
  });
  const legend = [
    text(16, 24, "What nine processes trust, and who uses it", "heading"),
    rect("old", WIDTH - 260, 14, 12, 12),
    text(WIDTH - 242, 24, "old authority"),
    rect("next", WIDTH - 130, 14, 12, 12),
    text(WIDTH - 112, 24, "next authority"),
    text(LEFT - 8, bottom + 38, String(most), "value", "end"),
    text(LEFT - 8, baseline, "0", "value", "end"),
    text(LEFT, bottom + 20, "open connections of clients", "value"),
    text(LEFT, baseline + 20, "0 s", "value"),
    text(WIDTH - RIGHT, baseline + 20, `${(end / 1_000).toFixed(1)} s`, "value", "end"),
  ];
  const size = `viewBox="0 0 ${WIDTH} ${baseline + 36}" width="${WIDTH}" height="${baseline + 36}"`;
  const title = "Rolling over a client authority in nine processes";
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img">\n<title>${escape(title)}</title>\n` +
    `<style>${STYLE}\n</style>\n${rect("page", 0, 0, WIDTH, baseline + 36)}\n` +
    `${[...legend, ...lanes, ...curves, ...marks].join("\n")}\n</svg>\n`;
}

/** From when to when a process trusts an authority, by what its metrics said. */
function spansOf(looks: readonly Look[], fingerprint256: string): (readonly [from: number, to: number])[] {
  const spans: [number, number][] = [];
  let isTrusted = false;
  for (const { atMs, trusts } of looks) {
    const wasTrusted = isTrusted;
    isTrusted = trusts.includes(fingerprint256);
    if (wasTrusted) spans.at(-1)![1] = atMs;
    else if (isTrusted) spans.push([atMs, atMs]);
  }
  return spans;
}

/** The looks that were taken together. */
function roundsOf(looks: readonly Look[], size: number): Look[][] {
  return Array.from({ length: looks.length / size }, (_, index) => looks.slice(index * size, (index + 1) * size));
}

function connectionsOf(round: readonly Look[], fingerprint256: string): number {
  return round.reduce((sum, { connections }) => sum + (connections.get(fingerprint256) ?? 0), 0);
}

function rect(kind: string, x: number, y: number, width: number, height: number): string {
  const [left, wide] = [x, width].map((length) => length.toFixed(1));
  return `<rect class="${kind}" x="${left}" y="${y}" width="${wide}" height="${height}"/>`;
}
