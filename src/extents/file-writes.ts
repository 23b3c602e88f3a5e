/**
 * Writing a file at any byte (paragraphs 28 and 29). A block that is written in part is filled up with what it holds.
 * Short writes go to buffers; long ones pass by them, straight from the caller's memory to the journal extents.
 */
import { byteLength, Gathering, sliceBuffers } from '../device/buffers.js';
import type { Buffers } from '../device/contract.js';
import { admit } from './admission.js';
import type { Epoch, Place } from './epoch.js';
import { readRange } from './file-reads.js';
import type { FileState } from './file-state.js';
import { type Piece, segmentsOf, writeSegments } from './segments.js';
import { settleMemory } from './write-behind.js';
import { losePlaces, writeOut } from './write-out.js';

/** Whole blocks of so many bytes, or of a whole extent where that is less, pass by the buffers; all without buffers. */
const LONG_BYTES = 1024 * 1024;
const SHORTEST_LONG_BYTES = 64 * 1024;
/** Buffers of blocks that are written together share so much memory: one that stays keeps no more than that. */
const PIECE_BYTES = 64 * 1024;

/** Whole blocks, with what was around the write in the first and the last one. */
interface Cover {
  readonly firstBlock: number;
  readonly endBlock: number;
  readonly from: readonly Uint8Array[];
  /** Those in between, which pass by the buffers; none where both are the same. */
  readonly directFrom: number;
  readonly directEnd: number;
  /** Where the file ends at least. */
  readonly endByte: number;
}

export async function writeFile(state: FileState, offset: number, from: Buffers): Promise<void> {
  const { blockBytes } = state.context.shape;
  const length = byteLength(from);
  const start = Math.floor(offset / blockBytes) * blockBytes;
  const end = Math.ceil((offset + length) / blockBytes) * blockBytes;
  const epoch = await state.locked(start, end, true, async () => {
    const cover = await coverOf(state, offset, from, length);
    const { taken, writing } = await admit(state, {
      obstacle: (epoch) => obstacleOf(state, epoch, cover),
      written: placesOf(state, cover.firstBlock, cover.endBlock),
      apply: (epoch) => ({ taken: epoch, writing: apply(state, epoch, cover) }),
    });
    await writing;
    return taken;
  });
  await settleMemory(state, epoch);
}

async function coverOf(state: FileState, offset: number, from: Buffers, length: number): Promise<Cover> {
  const { blockBytes } = state.context.shape;
  const firstBlock = Math.floor(offset / blockBytes);
  const endBlock = Math.ceil((offset + length) / blockBytes);
  const before = new Uint8Array(offset - firstBlock * blockBytes);
  const after = new Uint8Array(endBlock * blockBytes - offset - length);
  if (before.byteLength > 0) await readRange(state, offset - before.byteLength, before, before.byteLength);
  if (after.byteLength > 0) await readRange(state, offset + length, after, after.byteLength);
  const wholeFrom = before.byteLength > 0 ? firstBlock + 1 : firstBlock;
  const wholeEnd = after.byteLength > 0 ? endBlock - 1 : endBlock;
  const isLong = (wholeEnd - wholeFrom) * blockBytes >= longBytes(state);
  return {
    firstBlock,
    endBlock,
    from: [before, ...sliceBuffers(from, 0, length), after].filter(({ byteLength }) => byteLength > 0),
    directFrom: isLong ? wholeFrom : endBlock,
    directEnd: isLong ? wholeEnd : endBlock,
    endByte: offset + length,
  };
}

function longBytes({ context: { shape, memory } }: FileState): number {
  if (memory.limitBytes === 0) return shape.blockBytes;
  return Math.max(SHORTEST_LONG_BYTES, Math.min(LONG_BYTES, shape.extentBytes));
}

function placesOf(state: FileState, firstBlock: number, endBlock: number): number[] {
  const { blocksPerExtent } = state.context.shape;
  const first = Math.floor(firstBlock / blocksPerExtent);
  const count = Math.floor((endBlock - 1) / blocksPerExtent) - first + 1;
  return Array.from({ length: count }, (_, at) => first + at);
}

/** What passes by the buffers must not meet a buffer that is on its way to the same blocks. */
function obstacleOf(state: FileState, epoch: Epoch, cover: Cover): Promise<void> | null {
  for (const { index, start, count } of spans(state, cover.directFrom, cover.directEnd))
    if (epoch.places.get(index)?.hasUnwritten(start, count) === true) return writeOut(state, epoch);
  return null;
}

/** Blocks of the file, extent by extent. */
function* spans(
  state: FileState,
  from: number,
  end: number,
): Generator<{ index: number; start: number; count: number; block: number }> {
  const { blocksPerExtent } = state.context.shape;
  for (let block = from; block < end; ) {
    const index = Math.floor(block / blocksPerExtent);
    const start = block - index * blocksPerExtent;
    const count = Math.min(blocksPerExtent - start, end - block);
    yield { index, start, count, block };
    block += count;
  }
}

/** In one turn; what it gives ends when the device has what passes by the buffers. */
function apply(state: FileState, epoch: Epoch, cover: Cover): Promise<void> {
  const { firstBlock, endBlock, directFrom, directEnd, endByte } = cover;
  if (endByte > state.sizeBytes) epoch.sizeBytes = endByte;
  const pieces: Piece<Place>[] = [];
  const gathering = new Gathering(cover.from);
  const put = (from: number, end: number) => {
    for (const span of spans(state, from, end))
      putSpan(state, epoch.place(span.index), span, cover, gathering);
  };
  put(firstBlock, directFrom);
  for (const span of spans(state, directFrom, directEnd)) {
    const place = epoch.place(span.index);
    if (place.isLost) putSpan(state, place, span, cover, gathering);
    else pieces.push(pieceOf(state, place, span, cover));
  }
  put(directEnd, endBlock);
  return pieces.length === 0 ? Promise.resolve() : writeDirect(state, pieces);
}

interface BlockSpan {
  readonly start: number;
  readonly count: number;
  readonly block: number;
}

function putSpan(
  state: FileState,
  place: Place,
  { start, count, block }: BlockSpan,
  { firstBlock }: Cover,
  gathering: Gathering,
): void {
  const { blockBytes } = state.context.shape;
  putBlocks(state, place, { start, count }, gathering, (block - firstBlock) * blockBytes);
}

/** In memory that lies together as far as a piece goes: so it is written out in long runs. */
function putBlocks(
  { context: { shape } }: FileState,
  place: Place,
  { start, count }: { readonly start: number; readonly count: number },
  gathering: Gathering,
  from: number,
): void {
  const { blockBytes } = shape;
  const most = Math.max(1, Math.floor(PIECE_BYTES / blockBytes));
  for (let at = 0; at < count; at += most) {
    const blocks = Math.min(most, count - at);
    const bytes = new Uint8Array(blocks * blockBytes);
    gathering.copy(from + at * blockBytes, bytes);
    for (let block = 0; block < blocks; block++)
      place.put(start + at + block, bytes.subarray(block * blockBytes, (block + 1) * blockBytes));
  }
}

function pieceOf(state: FileState, place: Place, span: BlockSpan, cover: Cover): Piece<Place> {
  const { blockBytes } = state.context.shape;
  const { start, count, block } = span;
  place.markWritten(start, count);
  const lengthBytes = count * blockBytes;
  const from = sliceBuffers(cover.from, (block - cover.firstBlock) * blockBytes, lengthBytes);
  return { place, extent: place.journal!, start, from, lengthBytes };
}

function writeDirect(state: FileState, pieces: readonly Piece<Place>[]): Promise<void> {
  const writing = writePieces(state, pieces);
  for (const { place } of pieces) place.track(writing);
  // The blocks are marked, and nobody knows what is there: no commit may have them.
  writing.catch((cause: unknown) => state.fail(cause));
  return writing;
}

/** What a target does not take is in buffers instead, until another journal extent is there (paragraph 51). */
async function writePieces(state: FileState, pieces: readonly Piece<Place>[]): Promise<void> {
  const { blockBytes } = state.context.shape;
  const segments = segmentsOf(pieces, state.context.pool);
  state.counts.deviceWrites += segments.length;
  const failed = await writeSegments(segments);
  const notWritten = new Set(failed.flatMap(({ segment }) => segment.pieces));
  for (const piece of pieces) {
    const { place, start, from, lengthBytes } = piece;
    if (!notWritten.has(piece)) {
      state.counts.writtenBlocks += lengthBytes / blockBytes;
      continue;
    }
    putBlocks(state, place, { start, count: lengthBytes / blockBytes }, new Gathering(from), 0);
  }
  losePlaces(failed);
}
