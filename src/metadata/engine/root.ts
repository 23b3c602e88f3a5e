/**
 * A root from bytes and to bytes: which pages are the tree, and from where the log is read. There are two slots in a
 * half; a root is written to both halves, into the slot that the one before it does not lie in.
 */
import { crc32c } from '@node-rs/crc32';
import { allCountable } from './checked-numbers.js';
import { METADATA_ROOT, ROOT_MAGIC } from './fields.js';
import { type Checked, inBlocks, type Place } from './halves.js';
import { BLOCK_BYTES, type Layout, ROOT_SLOTS, rootOffset } from './layout.js';

/** A page as its parent names it. */
export interface Pointer {
  readonly page: number;
  readonly generation: number;
  readonly checksum: number;
}

export interface Root {
  readonly generation: number;
  readonly epoch: number;
  readonly logPosition: number;
  readonly logSequence: number;
  readonly entries: number;
  readonly pagesUsed: number;
  /** 0: the tree is empty, and `top` stands for nothing. */
  readonly levels: number;
  readonly top: Pointer;
}

/** More than a tree of 2^32 pages can have. */
const MOST_LEVELS = 16;
export const NO_PAGE: Pointer = { page: 0xffff_ffff, generation: 0, checksum: 0 };

export function rootPlace(generation: number): Place {
  return {
    what: "a root of the metadata's tree",
    code: 'ROOT_COPY_DAMAGED',
    offset: rootOffset(generation),
    length: BLOCK_BYTES,
  };
}

export function encodeRoot(root: Root, uuid: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(METADATA_ROOT.sizeBytes);
  const view = METADATA_ROOT.at(bytes);
  view.setNumber('magic', ROOT_MAGIC);
  view.setBytes('uuid', uuid);
  view.setBig('generation', BigInt(root.generation));
  view.setBig('epoch', BigInt(root.epoch));
  view.setBig('log_position', BigInt(root.logPosition));
  view.setBig('log_sequence', BigInt(root.logSequence));
  view.setBig('entries', BigInt(root.entries));
  view.setNumber('levels', root.levels);
  view.setNumber('pages_used', root.pagesUsed);
  view.setNumber('page', root.top.page);
  view.setNumber('page_checksum', root.top.checksum);
  view.setBig('page_generation', BigInt(root.top.generation));
  view.setNumber('checksum', crc32c(bytes.subarray(4)));
  return inBlocks(bytes);
}

/** `slot`: where it was found. */
export function decodeRoot(
  bytes: Uint8Array,
  { uuid, layout, slot }: { uuid: Uint8Array; layout: Layout; slot: number },
): Checked<Root> {
  const view = METADATA_ROOT.at(bytes);
  if (view.number('magic') !== ROOT_MAGIC) return { bad: 'there is none' };
  if (Buffer.compare(view.bytes('uuid'), uuid) !== 0) return { bad: 'it is of another engine' };
  if (view.number('checksum') !== crc32c(bytes.subarray(4, METADATA_ROOT.sizeBytes)))
    return { bad: 'its checksum is wrong' };
  const numbers = allCountable({
    generation: view.big('generation'),
    epoch: view.big('epoch'),
    logPosition: view.big('log_position'),
    logSequence: view.big('log_sequence'),
    entries: view.big('entries'),
    topGeneration: view.big('page_generation'),
  });
  if (numbers === null) return { bad: 'it counts further than any engine comes' };
  const { topGeneration, ...counted } = numbers;
  const top = {
    page: view.number('page'),
    generation: topGeneration,
    checksum: view.number('page_checksum'),
  };
  const root = { ...counted, levels: view.number('levels'), pagesUsed: view.number('pages_used'), top };
  const wrong = faultOfRoot(root, layout, slot);
  return wrong === null ? { good: root } : { bad: wrong };
}

function faultOfRoot(root: Root, layout: Layout, slot: number): string | null {
  const { generation, levels, pagesUsed, top, logPosition } = root;
  if (generation % ROOT_SLOTS !== slot) return `generation ${generation} does not belong into its slot`;
  if (logPosition % BLOCK_BYTES !== 0) return `the log cannot begin at ${logPosition}`;
  if (levels > MOST_LEVELS) return `no tree has ${levels} levels`;
  if (pagesUsed > layout.pages || pagesUsed < levels) return `it cannot have ${pagesUsed} pages`;
  if (levels > 0 && top.page >= layout.pages) return `there is no page ${top.page}`;
  if (top.generation > generation) return 'its page is newer than itself';
  return null;
}
