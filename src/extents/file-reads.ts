/**
 * Reading a file: per block from its newest source (file-state.ts), blocks that lie together as one device read. A read
 * has its blocks to itself and other readers, so none of them is written meanwhile.
 */
import { allEnded } from '../device/all-ended.js';
import { fillBuffers, scatter, sliceBuffers } from '../device/buffers.js';
import type { BlockDevice, Buffers, Extent } from '../device/contract.js';
import { ExtentList } from '../device/extent-list.js';
import { hasBit } from '../metadata/bits.js';
import type { FileState, Source } from './file-state.js';
import { PAGE_PLACES } from './map-cache.js';

/** Bytes of the file, from `start` to `end`, that have one source. */
interface Run {
  readonly start: number;
  end: number;
  readonly source: Source;
}

/** Of any bytes, under a lock of the caller's. Past the end there are zeroes. */
export async function readRange(
  state: FileState,
  offset: number,
  into: Buffers,
  length: number,
): Promise<void> {
  const { extentBytes } = state.context.shape;
  // So many that the map has them all at hand.
  const most = PAGE_PLACES * extentBytes;
  for (let at = offset; at < offset + length; ) {
    const end = Math.min(offset + length, at - (at % most) + most);
    const [first, last] = [Math.floor(at / extentBytes), Math.floor((end - 1) / extentBytes)];
    while (!state.isReady(first, last)) await state.load(first, last);
    const views = sliceBuffers(into, at - offset, end - at);
    const start = at;
    await state.context.reads.run(() => readReady(state, start, end, views));
    at = end;
  }
}

/** In one turn: what is in memory is copied, and the reads of devices begin. */
function readReady(state: FileState, offset: number, end: number, into: Buffers): Promise<void> {
  const reads: Promise<void>[] = [];
  for (const run of runsOf(state, offset, end)) {
    const from = Math.max(run.start, offset);
    const to = Math.min(run.end, end);
    if (run.source === null) fillBuffers(into, from - offset, to - from, 0);
    else if (run.source instanceof Uint8Array) {
      scatter(run.source.subarray(from - run.start, to - run.start), into, from - offset);
    } else reads.push(readRun(run.source, run, { from, to }, sliceBuffers(into, from - offset, to - from)));
  }
  return allEnded(reads);
}

/** Whole blocks from the device: what is asked of them, and around it what nobody needs. */
function readRun(
  { device, offsetBytes }: { readonly device: BlockDevice; readonly offsetBytes: number },
  run: Run,
  { from, to }: { readonly from: number; readonly to: number },
  views: Uint8Array[],
): Promise<void> {
  const before = from - run.start;
  const after = run.end - to;
  const all = [...pad(before), ...views, ...pad(after)];
  return device.read(offsetBytes, all);
}

function pad(bytes: number): Uint8Array[] {
  return bytes === 0 ? [] : [new Uint8Array(bytes)];
}

/** Starts and ends with whole blocks. Buffers are a run each. */
function runsOf(state: FileState, offset: number, end: number): Run[] {
  const { blockBytes, blocksPerExtent } = state.context.shape;
  const runs: Run[] = [];
  let last: Run | null = null;
  for (let block = Math.floor(offset / blockBytes); block * blockBytes < end; block++) {
    const index = Math.floor(block / blocksPerExtent);
    const source = state.sourceOf(index, block - index * blocksPerExtent, state.map.peek(index)!);
    const start = block * blockBytes;
    if (last !== null && follows(last, source)) {
      last.end += blockBytes;
      continue;
    }
    last = { start, end: start + blockBytes, source };
    runs.push(last);
  }
  return runs;
}

function follows({ start, end, source: former }: Run, source: Source): boolean {
  if (former === null || source === null) return former === source;
  if (former instanceof Uint8Array || source instanceof Uint8Array) return false;
  return former.device === source.device && former.offsetBytes + (end - start) === source.offsetBytes;
}

/** Under a lock of the caller's, within the size. */
export async function extentsOf(state: FileState, offset: number, length: number): Promise<Extent[]> {
  const { blockBytes, extentBytes } = state.context.shape;
  const list = new ExtentList();
  const end = offset + length;
  for (let index = Math.floor(offset / extentBytes); index * extentBytes < end; index++) {
    while (!state.isReady(index, index)) await state.load(index, index);
    const content = state.contentOf(index);
    const start = Math.max(offset, index * extentBytes);
    const stop = Math.min(end, (index + 1) * extentBytes);
    for (let at = start; at < stop; ) {
      const block = Math.floor((at - index * extentBytes) / blockBytes);
      const next = Math.min(stop, index * extentBytes + (block + 1) * blockBytes);
      list.add(at, next - at, hasBit(content, block) ? 'data' : 'hole');
      at = next;
    }
  }
  return list.list();
}
