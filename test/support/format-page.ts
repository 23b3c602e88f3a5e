/**
 * The page on the format on disk: how a structure is drawn there, and how the page is read back. The drawing
 * has eight bytes a row; a field of whole rows is one row, however long it is.
 */
import { type Field, fieldBytes, type StructureDescription } from '../../src/structure.js';

const ROW_BYTES = 8;
const BYTE_COLUMNS = 12;

export interface DocumentedField {
  readonly offset: number;
  readonly size: number;
  readonly type: string;
  readonly name: string;
  readonly instead: string | null;
  readonly why: string;
}

export interface DocumentedStructure {
  readonly sizeBytes: number;
  readonly drawing: string;
  readonly fields: readonly DocumentedField[];
}

/** Sections "### `name`, N bytes", each with a drawing and a table. */
export function parseFormatPage(page: string): Map<string, DocumentedStructure> {
  const sections = page.split(/^### /m).slice(1);
  const found = new Map<string, DocumentedStructure>();
  for (const section of sections) {
    const heading = /^`([^`]+)`, (\d+) bytes/.exec(section);
    if (heading === null) continue;
    const drawing = /```\n([\s\S]*?)```/.exec(section)?.[1] ?? '';
    const rows = section.split('\n').filter((line) => /^\| *\d+ \|/.test(line));
    found.set(heading[1]!, { sizeBytes: Number(heading[2]), drawing, fields: rows.map(parseRow) });
  }
  return found;
}

function parseRow(line: string): DocumentedField {
  const cells = line
    .slice(1, -1)
    .split(' | ')
    .map((cell) => cell.trim());
  if (cells.length !== 5) throw new Error(`not a row of offset, size, type, field and why: ${line}`);
  const field = /^`([^`]+)`(?: instead of `([^`]+)`)?$/.exec(cells[3]!);
  if (field === null) throw new Error(`no field in: ${line}`);
  return {
    offset: Number(cells[0]),
    size: Number(cells[1]),
    type: cells[2]!,
    name: field[1]!,
    instead: field[2] ?? null,
    why: cells[4]!,
  };
}

/** The section of a structure, as it has to be on the page. */
export function renderStructure(structure: StructureDescription): string {
  const rows = structure.fields.map((field) => {
    const name =
      field.instead === undefined ? `\`${field.name}\`` : `\`${field.name}\` instead of \`${field.instead}\``;
    return `| ${field.offset} | ${fieldBytes(field)} | ${field.type} | ${name} | ${field.why} |`;
  });
  return [
    `### \`${structure.name}\`, ${structure.sizeBytes} bytes`,
    '',
    '```',
    `${drawStructure(structure)}\`\`\``,
    '',
    '| offset | size | type | field | why |',
    '|---|---|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}

export function drawStructure(structure: StructureDescription): string {
  const width = Math.min(structure.sizeBytes, ROW_BYTES) * BYTE_COLUMNS;
  const rule = `      +${'-'.repeat(width - 1)}+\n`;
  let out = rule;
  let cells = '';
  let label = 0;
  let filled = 0;
  for (const field of structure.fields.filter((each) => each.instead === undefined)) {
    for (const [at, length] of cutAtRows(field)) {
      if (filled === 0) label = at;
      const whole = length > ROW_BYTES;
      cells += cell(field, length, whole ? ROW_BYTES : length);
      filled += whole ? ROW_BYTES : length;
      if (filled < ROW_BYTES) continue;
      out += `${String(label).padStart(5)} |${cells}\n${rule}`;
      cells = '';
      filled = 0;
    }
  }
  if (filled > 0) out += `${String(label).padStart(5)} |${cells}\n${rule}`;
  return out;
}

/** The part up to the next row, whole rows, the part that is left. */
function cutAtRows(field: Field): [number, number][] {
  const end = field.offset + fieldBytes(field);
  const pieces: [number, number][] = [];
  let at = field.offset;
  while (at < end) {
    const inRow = at % ROW_BYTES;
    const length =
      inRow > 0
        ? Math.min(ROW_BYTES - inRow, end - at)
        : Math.max(end - at - ((end - at) % ROW_BYTES), 0) || end - at;
    pieces.push([at, length]);
    at += length;
  }
  return pieces;
}

function cell(field: Field, bytes: number, columns: number): string {
  const width = columns * BYTE_COLUMNS - 1;
  const text = bytes > ROW_BYTES ? `${field.name}, ${bytes} bytes` : field.name;
  if (text.length > width) throw new Error(`${text} does not fit in ${width} columns`);
  const left = Math.floor((width - text.length) / 2);
  return `${' '.repeat(left)}${text}${' '.repeat(width - text.length - left)}|`;
}
