/**
 * Clearing and resizing. What is cleared reads as zeroes; whole blocks are marked so, and have no room any more when
 * it is committed; those at the edges are written. A file that shrinks clears what it loses in the same epoch, so that
 * it has zeroes there if it grows again. Past the end of a file there are zeroes always.
 */
import { clearBit, hasBit, isEmpty, noBits, setBit, without } from '../metadata/bits.js';
import { admit } from './admission.js';
import type { Epoch } from './epoch.js';
import { readRange } from './file-reads.js';
import type { FileState } from './file-state.js';
import { settleMemory } from './write-behind.js';

/** What of an extent goes. */
interface Clearing {
  readonly bits: Uint8Array;
  /** Nothing is left of the extent: it needs no journal extent. */
  readonly isWhole: boolean;
}

interface Edge {
  readonly index: number;
  readonly block: number;
  readonly bytes: Uint8Array;
}

interface Clearings {
  readonly places: ReadonlyMap<number, Clearing>;
  readonly edges: readonly Edge[];
}

/** Within the size. */
export async function clearFile(state: FileState, offset: number, length: number): Promise<void> {
  // Whole extents: what else they have says whether they go whole, and must not change meanwhile.
  const { extentBytes } = state.context.shape;
  const start = Math.floor(offset / extentBytes) * extentBytes;
  const end = Math.ceil((offset + length) / extentBytes) * extentBytes;
  const epoch = await state.locked(start, end, true, () => clearLocked(state, offset, offset + length, null));
  await settleMemory(state, epoch);
}

export async function resizeFile(state: FileState, sizeBytes: number): Promise<void> {
  const epoch = await state.locked(0, Number.MAX_SAFE_INTEGER, true, () =>
    clearLocked(state, sizeBytes, state.sizeBytes, sizeBytes),
  );
  await settleMemory(state, epoch);
}

async function clearLocked(
  state: FileState,
  offset: number,
  end: number,
  sizeBytes: number | null,
): Promise<Epoch> {
  const clearings = await findClearings(state, offset, end);
  const { places, edges } = clearings;
  const written = new Set(edges.map(({ index }) => index));
  for (const [index, { isWhole }] of places) if (!isWhole) written.add(index);
  return admit(state, {
    written: [...written].sort((a, b) => a - b),
    apply: (epoch) => {
      apply(state, epoch, clearings, sizeBytes);
      return epoch;
    },
  });
}

function apply(state: FileState, epoch: Epoch, { places, edges }: Clearings, sizeBytes: number | null): void {
  for (const [index, { bits, isWhole }] of places) {
    if (isWhole) epoch.place(index).clearAll();
    else epoch.place(index).clear(bits);
  }
  for (const { index, block, bytes } of edges) epoch.place(index).put(block, bytes);
  if (sizeBytes !== null && sizeBytes !== state.sizeBytes) epoch.sizeBytes = sizeBytes;
}

/** What there is to be cleared; where there is nothing, nothing is done. */
async function findClearings(state: FileState, offset: number, end: number): Promise<Clearings> {
  const { blockBytes, extentBytes, blocksPerExtent } = state.context.shape;
  const places = new Map<number, Clearing>();
  const edges: Edge[] = [];
  if (offset >= end) return { places, edges };
  for (let index = Math.floor(offset / extentBytes); index * extentBytes < end; index++) {
    while (!state.isReady(index, index)) await state.load(index, index);
    const content = state.contentOf(index);
    if (isEmpty(content)) continue;
    const bits = noBits(blocksPerExtent);
    const first = Math.max(0, Math.floor((offset - index * extentBytes) / blockBytes));
    const last = Math.min(blocksPerExtent, Math.ceil((end - index * extentBytes) / blockBytes));
    for (let block = first; block < last; block++) if (hasBit(content, block)) setBit(bits, block);
    for (const block of new Set([first, last - 1])) {
      if (!hasBit(bits, block)) continue;
      const edge = await edgeOf(state, index, block, { offset, end });
      if (edge === null) continue;
      clearBit(bits, block);
      edges.push(edge);
    }
    const isWhole = isEmpty(without(content, bits));
    if (!isEmpty(bits)) places.set(index, { bits, isWhole });
  }
  return { places, edges };
}

/** A block of which only a part is cleared, with zeroes there; null: all of it is. */
async function edgeOf(
  state: FileState,
  index: number,
  block: number,
  { offset, end }: { readonly offset: number; readonly end: number },
): Promise<Edge | null> {
  const { blockBytes, extentBytes } = state.context.shape;
  const start = index * extentBytes + block * blockBytes;
  // Past the file's end there are zeroes: a block that is cleared up to there is cleared.
  const stop = Math.min(start + blockBytes, state.sizeBytes);
  if (offset <= start && end >= stop) return null;
  const bytes = new Uint8Array(blockBytes);
  await readRange(state, start, bytes, blockBytes);
  bytes.fill(0, Math.max(0, offset - start), Math.min(blockBytes, end - start));
  return { index, block, bytes };
}
