// A soak as SVG, readable on a light and on a dark page: its load and what the servers held over time, and below when
// what was disturbed.
import { escape, text } from "../../bench/support/chart.ts";
import type { RuntimeRecord, SoakRecord } from "./record.ts";

const [WIDTH, LEFT, RIGHT, PANEL, HEADING, LANE] = [880, 200, 24, 90, 40, 18];
/** Plain fills, because some viewers of SVG do not know CSS variables. */
const STYLE = `
  text { font: 13px system-ui, sans-serif; fill: #1f2328 } .heading { font-weight: 600 } .value { fill: #59636e }
  .page { fill: #fff } .axis { stroke: #d1d9e0 } polyline { fill: none; stroke-width: 1.5 }
  .deno { stroke: #0a7cff; fill: #0a7cff } .bun { stroke: #d4811b; fill: #d4811b } .node { stroke: #1a7f37; fill: #1a7f37 }
  polyline.deno, polyline.bun, polyline.node { fill: none } text.deno, text.bun, text.node { stroke: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .value { fill: #9198a1 } .page { fill: #0d1117 } .axis { stroke: #3d444d }
    .deno { stroke: #4493f8; fill: #4493f8 } .bun { stroke: #e3a341; fill: #e3a341 }
    .node { stroke: #3fb950; fill: #3fb950 }
  }`;
const PANELS: readonly { readonly title: string; of(sample: RuntimeRecord["samples"][number]): number }[] = [
  { title: "Requests in 10 s", of: ({ requests }) => requests },
  { title: "Swaps in 10 s", of: ({ swaps }) => swaps },
  { title: "Resident, MiB", of: ({ rssBytes }) => rssBytes / 2 ** 20 },
  { title: "Descriptors", of: ({ descriptors }) => descriptors },
];

/** Draws a soak. */
export function pictureOf({ runtimes, seed }: SoakRecord): string {
  const all = Object.entries(runtimes);
  const end = Math.max(1, ...all.flatMap(([, { samples }]) => samples.map(({ atMs }) => atMs)));
  const x = (atMs: number) => LEFT + (Math.min(atMs, end) / end) * (WIDTH - LEFT - RIGHT);
  const parts = all.map(([key, { name }], index) => text(LEFT + index * 160, 24, name, `heading ${key}`));
  let y = 24;
  for (const { title, of } of PANELS) {
    const most = Math.max(1, ...all.flatMap(([, { samples }]) => samples.map(of)));
    const bottom = y + HEADING + PANEL;
    parts.push(
      text(16, y + HEADING + PANEL / 2, title),
      text(LEFT - 8, y + HEADING + 10, most.toFixed(0), "value", "end"),
      text(LEFT - 8, bottom, "0", "value", "end"),
      `<line class="axis" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${bottom}" y2="${bottom}"/>`,
    );
    for (const [key, { samples }] of all) {
      const points = samples.map((sample) => {
        return `${x(sample.atMs).toFixed(1)},${(bottom - (of(sample) / most) * PANEL).toFixed(1)}`;
      });
      parts.push(`<polyline class="${key}" points="${points.join(" ")}"/>`);
    }
    y = bottom;
  }
  y += HEADING;
  for (const name of [...new Set(all.flatMap(([, { disturbed }]) => disturbed.map((each) => each.name)))].sort()) {
    parts.push(text(LEFT - 8, y + 13, name, "", "end"));
    for (const [index, [key, { disturbed }]] of all.entries()) {
      const height = LANE / all.length - 1;
      for (const each of disturbed) {
        if (each.name !== name) continue;
        const width = Math.max(1, x(each.toMs) - x(each.fromMs)).toFixed(1);
        const top = (y + index * (height + 1)).toFixed(1);
        parts.push(
          `<rect class="${key}" x="${x(each.fromMs).toFixed(1)}" y="${top}" width="${width}" height="${height}"/>`,
        );
      }
    }
    y += LANE + 4;
  }
  parts.push(text(WIDTH - RIGHT, y + 16, `${Math.round(end / 6_000) / 10} minutes, seed ${seed}`, "value", "end"));
  const size = `viewBox="0 0 ${WIDTH} ${y + 28}" width="${WIDTH}" height="${y + 28}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img">\n<title>${
    escape(`Soak, seed ${seed}`)
  }</title>\n` +
    `<style>${STYLE}\n</style>\n<rect class="page" width="100%" height="100%"/>\n${parts.join("\n")}\n</svg>\n`;
}
