/**
 * Tables for people. On a terminal they have rules and tones, else they are plain columns apart by two
 * spaces, which survive `awk` and a log. What the cells hold is the same in both.
 */
import { stripVTControlCharacters } from 'node:util';
import type { Painter, Tone } from './colour.js';
import { printableLine } from './printable.js';

export interface Cell {
  readonly text: string;
  /** Beside the words, never instead of them. */
  readonly tone?: Tone;
}

export type Row = readonly (string | Cell)[];

export interface Table {
  readonly head: readonly string[];
  readonly rows: readonly Row[];
}

export async function renderTable({ head, rows }: Table, paint: Painter): Promise<string> {
  const cells = rows.map((row) => row.map((cell) => paintCell(cell, paint)));
  if (process.stdout.isTTY !== true) return columns([[...head], ...cells]);
  const { default: CliTable } = await import('cli-table3');
  // Its own colours would not obey NO_COLOR.
  const table = new CliTable({
    head: head.map((word) => paint('strong', word)),
    style: { head: [], border: [] },
  });
  table.push(...cells);
  return table.toString();
}

/** `Name: value` lines with the values below one another; a name of '' goes on with the one above. */
export function renderFacts(facts: readonly (readonly [string, string | Cell])[], paint: Painter): string {
  return columns(facts.map(([name, value]) => [name === '' ? '' : `${name}:`, paintCell(value, paint)]));
}

function paintCell(cell: string | Cell, paint: Painter): string {
  const { text, tone } = typeof cell === 'string' ? { text: cell, tone: undefined } : cell;
  const clean = printableLine(text);
  return tone === undefined ? clean : paint(tone, clean);
}

function columns(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, visibleLength(cell));
    });
  }
  const pad = (cell: string, i: number): string =>
    cell + ' '.repeat((widths[i] ?? 0) - visibleLength(cell) + 2);
  return rows.map((row) => row.map(pad).join('').trimEnd()).join('\n');
}

function visibleLength(text: string): number {
  return stripVTControlCharacters(text).length;
}
