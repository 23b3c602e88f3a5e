/**
 * Where the blocks of one inode lie: the journal's. By extents, or by the older lists of block numbers.
 *
 * Source: the kernel's documentation of ext4, sections "Index Nodes", "The Contents of inode.i_block", "Checksums".
 */
import type { BlockReader } from './blocks.js';
import { rawCrc32c, rawCrc32cWithout, u32Bytes } from './checksums.js';
import { Descriptors } from './descriptors.js';
import { EXTENT, EXTENT_HEADER, EXTENT_NODE, INODE } from './fields.js';
import { demand, type Superblock } from './superblock.js';

const REGULAR = 0x8000;
const HAS_EXTENTS = 0x80000;
const EXTENT_MAGIC = 0xf30a;
const MAX_DEPTH = 5;
const DIRECT = 12;
/** In the part of an inode beyond 128 bytes. */
const EXTRA_SIZE_AT = 128;
const CHECKSUM_HIGH_AT = 130;

/** Blocks of a file that follow one another on the device as well. */
export interface Piece {
  /** Within the file, in blocks. */
  readonly logical: number;
  readonly block: number;
  readonly count: number;
}

export interface FileMap {
  readonly pieces: readonly Piece[];
  /** By its size. */
  readonly blocks: number;
  /** Blocks of the device that hold the map itself. */
  readonly mapBlocks: readonly number[];
}

interface Walk {
  readonly blocks: BlockReader;
  readonly sb: Superblock;
  /** Of checksums of the nodes. */
  readonly seed: number;
  readonly pieces: Piece[];
  readonly mapBlocks: number[];
  readonly fileBlocks: number;
}

/** Throws Untrusted where the inode is no regular file, or damaged. */
export async function mapOf(blocks: BlockReader, sb: Superblock, inode: number): Promise<FileMap> {
  demand(inode > 0 && inode <= sb.groups * sb.inodesPerGroup, `its journal would be inode ${inode}`);
  const group = await Descriptors.readOne(blocks, sb, Math.floor((inode - 1) / sb.inodesPerGroup));
  const at = ((inode - 1) % sb.inodesPerGroup) * sb.inodeBytes;
  const block = group.inodeTable + Math.floor(at / sb.blockBytes);
  const bytes = await blocks.part(block, at % sb.blockBytes, sb.inodeBytes);
  const view = INODE.at(bytes);
  const seed = rawCrc32c(rawCrc32c(sb.checksumSeed, u32Bytes(inode)), u32Bytes(view.number('generation')));
  if (sb.checksums === 'crc32c') {
    demand(isSound(bytes, seed), `the checksum of inode ${inode}, its journal, is wrong`);
  }
  demand((view.number('mode') & 0xf000) === REGULAR, `inode ${inode}, its journal, is no file`);
  const fileBlocks = Math.floor((view.number('size') + view.number('size_high') * 2 ** 32) / sb.blockBytes);
  const walk: Walk = { blocks, sb, seed, pieces: [], mapBlocks: [], fileBlocks };
  if (view.number('flags') & HAS_EXTENTS) await walkExtents(walk, view.bytes('map'), MAX_DEPTH);
  else await walkLists(walk, view.bytes('map'));
  return { pieces: walk.pieces, blocks: fileBlocks, mapBlocks: walk.mapBlocks };
}

function isSound(bytes: Uint8Array, seed: number): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const at = INODE.offsetOf('checksum');
  const hasHigh = bytes.byteLength > 128 && view.getUint16(EXTRA_SIZE_AT, true) >= 4;
  const low = view.getUint16(at, true);
  const head = rawCrc32cWithout(seed, bytes.subarray(0, INODE.sizeBytes), at, 2);
  const rest = bytes.subarray(INODE.sizeBytes);
  if (!hasHigh) return (rawCrc32c(head, rest) & 0xffff) === low;
  const sum = rawCrc32cWithout(head, rest, CHECKSUM_HIGH_AT - INODE.sizeBytes, 2);
  return sum === low + view.getUint16(CHECKSUM_HIGH_AT, true) * 0x10000;
}

async function walkExtents(walk: Walk, node: Uint8Array, depthAtMost: number): Promise<void> {
  const header = EXTENT_HEADER.at(node);
  const entries = header.number('entries');
  const depth = header.number('depth');
  const room = Math.floor((node.byteLength - EXTENT_HEADER.sizeBytes) / EXTENT.sizeBytes);
  demand(
    header.number('magic') === EXTENT_MAGIC && depth <= depthAtMost && entries <= room,
    'the extents of its journal are damaged',
  );
  for (let i = 0; i < entries; i++) {
    const at = EXTENT_HEADER.sizeBytes + i * EXTENT.sizeBytes;
    if (depth > 0) {
      const index = EXTENT_NODE.at(node, at);
      const child = index.number('child') + index.number('child_high') * 2 ** 32;
      await walkExtents(walk, await childNode(walk, child), depth - 1);
      continue;
    }
    const extent = EXTENT.at(node, at);
    const count = extent.number('length');
    demand(count > 0 && count <= 32768, 'its journal has extents that were never written');
    addPiece(
      walk,
      extent.number('logical'),
      extent.number('start') + extent.number('start_high') * 2 ** 32,
      count,
    );
  }
}

async function childNode(walk: Walk, block: number): Promise<Uint8Array> {
  const node = await mapBlock(walk, block);
  if (walk.sb.checksums === 'crc32c') {
    const tail = EXTENT_HEADER.sizeBytes + EXTENT_HEADER.at(node).number('most') * EXTENT.sizeBytes;
    demand(tail + 4 <= node.byteLength, 'the extents of its journal are damaged');
    const stored = new DataView(node.buffer, node.byteOffset + tail, 4).getUint32(0, true);
    demand(
      rawCrc32c(walk.seed, node.subarray(0, tail)) === stored,
      'the checksum of the extents of its journal is wrong',
    );
  }
  return node;
}

/** Twelve numbers, then one of a list, one of a list of lists, and one of a list of those. */
async function walkLists(walk: Walk, map: Uint8Array): Promise<void> {
  const numbers = new DataView(map.buffer, map.byteOffset, map.byteLength);
  let logical = 0;
  for (let i = 0; i < DIRECT; i++) addPiece(walk, logical++, numbers.getUint32(4 * i, true), 1);
  for (let level = 1; level <= 3; level++) {
    logical = await walkList(walk, numbers.getUint32(4 * (DIRECT + level - 1), true), level, logical);
  }
}

async function walkList(walk: Walk, block: number, level: number, first: number): Promise<number> {
  if (level === 0) {
    addPiece(walk, first, block, 1);
    return first + 1;
  }
  if (first >= walk.fileBlocks) return first;
  const list = await mapBlock(walk, block);
  const numbers = new DataView(list.buffer, list.byteOffset, list.byteLength);
  let logical = first;
  for (let at = 0; at < list.byteLength && logical < walk.fileBlocks; at += 4) {
    logical = await walkList(walk, numbers.getUint32(at, true), level - 1, logical);
  }
  return logical;
}

async function mapBlock(walk: Walk, block: number): Promise<Uint8Array> {
  demand(block > 0 && block < walk.sb.blocks, `its journal has block ${block} of ${walk.sb.blocks}`);
  demand(walk.mapBlocks.length < 2 ** 20, 'the map of its journal is too large');
  walk.mapBlocks.push(block);
  return (await walk.blocks.run(block, 1)).slice();
}

function addPiece(walk: Walk, logical: number, block: number, count: number): void {
  if (logical >= walk.fileBlocks) return;
  demand(
    block > 0 && block + count <= walk.sb.blocks,
    `block ${logical} of its journal would be block ${block} of ${walk.sb.blocks}`,
  );
  const last = walk.pieces.at(-1);
  if (last !== undefined && last.logical + last.count === logical && last.block + last.count === block) {
    walk.pieces[walk.pieces.length - 1] = { ...last, count: last.count + count };
    return;
  }
  demand(
    (last === undefined ? 0 : last.logical + last.count) === logical,
    `block ${logical} of its journal has no place`,
  );
  walk.pieces.push({ logical, block, count });
}
