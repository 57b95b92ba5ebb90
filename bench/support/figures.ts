// Finds figures in the results, for the pages that show them.
import { baseOf, format, median, ratio, type Row, type Table } from "./report.ts";
import { type PartResult, sharedNotes } from "./results.ts";

export type Results = ReadonlyMap<string, PartResult>;

/** What is to be said of all results, as Markdown behind a sentence. */
export function remarks(results: Results): string {
  return sharedNotes(results.values()).map((note) => ` **${note}**`).join("");
}

export function resultOf(results: Results, part: string): PartResult {
  const result = results.get(part);
  if (!result) throw new Error(`Cannot show results: no result of a part: ${part}`);
  return result;
}

export function tableOf(results: Results, part: string, title: string): Table {
  const table = resultOf(results, part).tables.find((each) => each.title === title);
  if (!table) throw new Error(`Cannot show results: the part ${part} has no such table: ${title}`);
  return table;
}

export function rowOf({ title, rows }: Table, name: string): Row {
  const row = rows.find((each) => each.name === name);
  if (!row) throw new Error(`Cannot show results: the table "${title}" has no such row: ${name}`);
  return row;
}

export function oursOf({ rows }: Table): readonly Row[] {
  return rows.filter(({ isOurs }) => isOurs);
}

export function cellOf({ title, columns }: Table, { cells }: Row, column: string): readonly number[] {
  const index = columns.findIndex(({ name }) => name === column);
  if (index < 0) throw new Error(`Cannot show results: the table "${title}" has no such column: ${column}`);
  return cells[index]!;
}

export function medianOf(table: Table, row: Row, column: string): number {
  return median(cellOf(table, row, column));
}

export function ratioOf(table: Table, row: Row, column: string): number {
  return ratio(cellOf(table, row, column), cellOf(table, baseOf(table, row, column), column));
}

/** From the least to the most of those that there are. */
export function span(all: readonly number[]): string {
  const values = all.filter((value) => !Number.isNaN(value));
  const [least, most] = [format(Math.min(...values)), format(Math.max(...values))];
  return least === most ? least : `${least} to ${most}`;
}

export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |\n`;
  return line(head) + line(head.map(() => "---")) + rows.map(line).join("");
}
