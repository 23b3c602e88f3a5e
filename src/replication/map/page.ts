/**
 * Where the parts of a map file lie, and its pages from bytes and to bytes. What is decoded has a good checksum, is of
 * this map, and lies where its number belongs.
 *
 *     header, two copies    auxiliary map        the map
 *     8192 bytes            a page of 512        a page of 512 for each 3840 blocks:
 *                           for each 3840        a hole where it has no bit
 *
 * 512 bytes for 3840 blocks of 4096 are 0.0033% of the volume.
 */
import { crc32c } from '@node-rs/crc32';
import type { UncheckedBytes } from '../../structure.js';
import { CONTENT_OFFSET, SECTOR_BYTES } from '../file-header.js';
import { MAP_PAGE, MAP_PAGE_MAGICS } from './fields.js';
import { nextBit, PAGE_BITS, PAGE_WORDS } from './words.js';

export type PageKind = keyof typeof MAP_PAGE_MAGICS;

/** Filesystems make holes of such blocks, so the pages of the map begin with one, and so many are let go together. */
const HOLE_BYTES = 4096;
export const PAGES_PER_HOLE = HOLE_BYTES / SECTOR_BYTES;
const BITS_OFFSET = MAP_PAGE.offsetOf('bits');
const CHECKED_FROM = MAP_PAGE.offsetOf('magic');

/** Where the pages of a map of so many blocks begin. */
export class MapLayout {
  readonly pages: number;
  readonly auxiliaryPages: number;
  readonly #pagesOffset: number;

  constructor(blocks: number) {
    this.pages = Math.ceil(blocks / PAGE_BITS);
    this.auxiliaryPages = Math.ceil(this.pages / PAGE_BITS);
    this.#pagesOffset = wholeHoles(CONTENT_OFFSET + this.auxiliaryPages * SECTOR_BYTES);
  }

  get fileBytes(): number {
    return wholeHoles(this.#pagesOffset + this.pages * SECTOR_BYTES);
  }

  offsetOf(kind: PageKind, number: number): number {
    return (kind === 'pages' ? CONTENT_OFFSET : this.#pagesOffset) + number * SECTOR_BYTES;
  }
}

/** Bytes of a file for a map of so many blocks. */
export function mapFileBytes(blocks: number): number {
  return new MapLayout(blocks).fileBytes;
}

export interface MapPage {
  readonly kind: PageKind;
  readonly number: number;
  readonly generation: number;
  /** undefined: no bit. */
  readonly words: Uint32Array | undefined;
}

export function encodePage(id: bigint, { kind, number, generation, words }: MapPage): Uint8Array {
  const bytes = new Uint8Array(SECTOR_BYTES);
  const view = MAP_PAGE.at(bytes);
  view.setNumber('magic', MAP_PAGE_MAGICS[kind]);
  view.setBig('id', id);
  view.setBig('generation', BigInt(generation));
  view.setNumber('number', number);
  const data = new DataView(bytes.buffer);
  for (let at = 0; words !== undefined && at < PAGE_WORDS; at++)
    data.setUint32(BITS_OFFSET + at * 4, words[at]!, true);
  view.setNumber('checksum', crc32c(bytes.subarray(CHECKED_FROM)));
  return bytes;
}

/** `bits`: how many the page has room for; none behind them is set. */
export function decodePage(
  { bytes }: UncheckedBytes,
  id: bigint,
  { kind, number, bits }: Pick<MapPage, 'kind' | 'number'> & { readonly bits: number },
): { readonly generation: number; readonly words: Uint32Array } | { readonly bad: string } {
  const view = MAP_PAGE.at(bytes);
  if (view.number('magic') !== MAP_PAGE_MAGICS[kind]) return { bad: 'there is none' };
  if (view.number('checksum') !== crc32c(bytes.subarray(CHECKED_FROM)))
    return { bad: 'its checksum is wrong' };
  if (view.big('id') !== id) return { bad: 'it is of a former map' };
  if (view.number('number') !== number) return { bad: `page ${view.number('number')} lies there` };
  const generation = Number(view.big('generation'));
  if (!Number.isSafeInteger(generation)) return { bad: 'its generation is out of all bounds' };
  const data = new DataView(bytes.buffer, bytes.byteOffset + BITS_OFFSET);
  const words = new Uint32Array(PAGE_WORDS);
  for (let at = 0; at < PAGE_WORDS; at++) words[at] = data.getUint32(at * 4, true);
  // Only the last page is short.
  const isWithin = bits === PAGE_BITS || nextBit(words, bits, true) === PAGE_BITS;
  return isWithin ? { generation, words } : { bad: 'it has bits past the last' };
}

function wholeHoles(bytes: number): number {
  return Math.ceil(bytes / HOLE_BYTES) * HOLE_BYTES;
}
