// What was measured, as Markdown: medians, spread, and ratios to another row, taken round by round.

/** One kind of figure. */
export interface Column {
  readonly name: string;
  /** The name of the row that it is compared with, where the rows do not say and that is not the first. */
  readonly base?: string | undefined;
  /** @default {true} */
  readonly isCompared?: boolean;
  /** Whether the chart shows it. */
  readonly isCharted?: boolean | undefined;
}

/** One thing that was measured: for each column a figure for each round, or nothing. */
export interface Row {
  readonly name: string;
  readonly isOurs?: boolean | undefined;
  /** The name of the row that it is compared with, where that is not the first. */
  readonly base?: string | undefined;
  readonly cells: readonly (readonly number[])[];
}

export interface Table {
  readonly title: string;
  readonly about: string;
  readonly columns: readonly Column[];
  readonly rows: readonly Row[];
  /** What would have taken part. */
  readonly absent: readonly string[];
  /** An SVG in place of the bars. */
  readonly picture?: string;
}

/** Fills a table while the rounds go on. */
export class TableBuilder {
  readonly #table: Omit<Table, "rows" | "absent" | "picture">;
  readonly #rows = new Map<string, Row & { readonly cells: number[][] }>();
  readonly absent: string[] = [];

  constructor(table: Omit<Table, "rows" | "absent" | "picture">) {
    this.#table = table;
  }

  /** Gives a row its place. */
  row(row: Omit<Row, "cells">): void {
    const { name, isOurs, base } = row;
    this.#rows.set(name, { name, isOurs, base, cells: this.#table.columns.map(() => []) });
  }

  /** Adds the figure of a round, if there is one. */
  add(name: string, column: string, value: number): void {
    if (!Number.isFinite(value)) return;
    this.#rows.get(name)!.cells[this.#table.columns.findIndex((each) => each.name === column)]!.push(value);
  }

  build(): Table {
    return { ...this.#table, rows: [...this.#rows.values()], absent: this.absent };
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]!;
}

/** Three digits that count. */
export function format(value: number): string {
  if (Number.isNaN(value)) return "–";
  return Number(value.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 });
}

/** The median of the ratios of each round; `NaN` if a round is missing from one of them. */
export function ratio(cell: readonly number[], base: readonly number[]): number {
  if (cell.length === 0 || cell.length !== base.length) return NaN;
  return median(cell.map((value, round) => value / base[round]!));
}

/** The file of its chart, if it has one. */
export function chartOf({ title, columns, picture }: Table): string | undefined {
  const hasChart = picture !== undefined || columns.some(({ isCharted }) => isCharted);
  return hasChart ? `${title.toLowerCase().replace(/\W+/g, "-")}.svg` : undefined;
}

/** The row that a row is compared with in a column. */
export function baseOf({ columns, rows }: Table, row: Row, column: string): Row {
  const name = row.base ?? columns.find((each) => each.name === column)?.base;
  return rows.find((each) => each.name === name) ?? rows[0]!;
}

export function toMarkdown(table: Table): string {
  const { title, about, columns, rows, absent } = table;
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |\n`;
  const cellOf = (row: Row, index: number) => {
    const base = baseOf(table, row, columns[index]!.name);
    const cell = row.cells[index]!;
    if (cell.length === 0) return "–";
    const [least, most] = [Math.min(...cell), Math.max(...cell)];
    const spread = least === most ? "" : ` (${format(least)}–${format(most)})`;
    const isCompared = columns[index]!.isCompared !== false && row !== base;
    const times = isCompared ? ratio(cell, base.cells[index]!) : NaN;
    return `${format(median(cell))}${spread}${Number.isNaN(times) ? "" : ` **×${times.toFixed(2)}**`}`;
  };
  return `## ${title}\n\n${about}\n\n` +
    line(["", ...columns.map(({ name }) => name)]) +
    line(["---", ...columns.map(() => "---")]) +
    rows.map((row) => line([row.isOurs ? `**${row.name}**` : row.name, ...columns.map((_, at) => cellOf(row, at))]))
      .join("") +
    absent.map((name) => line([name, ...columns.map(() => "absent")])).join("");
}
