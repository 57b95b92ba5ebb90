// Bars with their spread as SVG, readable on a light and on a dark page.
import { format, median, type Table } from "./report.ts";

const [WIDTH, LABEL, VALUE, ROW, HEADING] = [880, 350, 80, 22, 44];
/** Plain fills, because some viewers of SVG do not know CSS variables. */
const STYLE = `
  text { font: 13px system-ui, sans-serif; fill: #1f2328 } .heading { font-weight: 600 } .value { fill: #59636e }
  .page { fill: #fff } .bar { fill: #b6c2cf } .ours { fill: #0a7cff } line { stroke: #32383f; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .value { fill: #9198a1 } .page { fill: #0d1117 } .bar { fill: #444c56 }
    .ours { fill: #4493f8 } line { stroke: #d1d7e0 }
  }`;

/** One panel for each charted column, one bar for each row: the median, and a line from least to most. */
export function toSvg({ title, columns, rows }: Table): string {
  const parts: string[] = [];
  let y = 12;
  for (const [index, column] of columns.entries()) {
    const bars = rows.filter(({ cells }) => cells[index]!.length > 0);
    if (!column.isCharted || bars.length === 0) continue;
    parts.push(text(16, y + 24, `${title}: ${column.name}`, "heading"));
    y += HEADING;
    const longest = Math.max(...bars.flatMap(({ cells }) => cells[index]!)) || 1;
    const x = (value: number) => LABEL + (value / longest) * (WIDTH - LABEL - VALUE);
    for (const { name, isOurs, cells } of bars) {
      const cell = cells[index]!;
      const [middle, least, most] = [median(cell), Math.min(...cell), Math.max(...cell)];
      const [from, to, width] = [x(least), x(most), x(middle) - LABEL].map((length) => length.toFixed(1));
      parts.push(
        text(LABEL - 8, y + 15, name, "", "end"),
        `<rect class="${isOurs ? "ours" : "bar"}" x="${LABEL}" y="${y + 3}" width="${width}" height="${ROW - 6}"/>`,
        `<line x1="${from}" x2="${to}" y1="${y + ROW / 2}" y2="${y + ROW / 2}"/>`,
        text(x(most) + 6, y + 15, format(middle), "value"),
      );
      y += ROW;
    }
  }
  const size = `viewBox="0 0 ${WIDTH} ${y + 16}" width="${WIDTH}" height="${y + 16}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img">\n<title>${escape(title)}</title>\n` +
    `<style>${STYLE}\n</style>\n<rect class="page" width="100%" height="100%"/>\n${parts.join("\n")}\n</svg>\n`;
}

export function text(x: number, y: number, content: string, kind = "", anchor = "start"): string {
  return `<text class="${kind}" x="${x.toFixed(1)}" y="${y}" text-anchor="${anchor}">${escape(content)}</text>`;
}

export function escape(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
