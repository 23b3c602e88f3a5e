/**
 * The container: what the image held at the last consistent point, of each block that a resync has overwritten since. Groups,
 * one behind the other from byte 0 on; what reads as zeroes is kept without content.
 *
 * Invariants
 * - A block is overwritten when the group that has it is durable. So what a group says is true whenever it is good: also of
 *   one that was dropped because one before it was torn, and is found again.
 * - A block that is kept is not kept again while its group is known.
 * - `sureGroups` are known to have been durable: fewer good ones are damage, more are believed when their content is good.
 */
import type { BlockDevice } from '../../device/contract.js';
import { RangeSet } from '../../device/range-set.js';
import { isZero } from '../../device/zeroes.js';
import { BLOCK_BYTES, type BlockRange, blocksOf, blocksWithin } from '../blocks.js';
import { SECTOR_BYTES } from '../file-header.js';
import { type KeptKind, type KeptRun, MOST_ENTRIES, runBytes } from '../kept/group.js';
import { type Group, KeptGroups, type KeptPart, type OpenGroupsOptions } from '../kept/groups.js';
import type { Layer } from './layer.js';
import { damage } from './slots.js';

/** Content of a group. */
const MOST_BLOCKS = 256;
/** Whether so few are a hole is not asked. */
const SHORT_BLOCKS = 64;

/** What a container of this many bytes of image takes at most, were each block kept by itself. Sparse: it takes what it keeps. */
export function keptBytesFor(sizeBytes: number): number {
  return blocksOf(sizeBytes) * (BLOCK_BYTES + SECTOR_BYTES) + BLOCK_BYTES;
}

export class KeptContainer {
  /** Numbers of blocks. */
  private readonly blocks = new RangeSet();

  private constructor(
    private readonly device: BlockDevice,
    private readonly groups: KeptGroups,
    private readonly sizeBytes: number,
  ) {
    this.add(groups.list);
  }

  /** Nothing is in it; what lies there has another id. */
  static empty(device: BlockDevice, keptId: Uint8Array, sizeBytes: number): KeptContainer {
    return new KeptContainer(device, KeptGroups.empty(device, keptId, sizeBytes), sizeBytes);
  }

  /** Reads the indexes. Throws METADATA_DAMAGED where there are fewer good groups than `sureGroups`. */
  static async open(device: BlockDevice, options: OpenGroupsOptions): Promise<KeptContainer> {
    const { groups, damage: found } = await KeptGroups.open(device, options);
    if (found !== null) throw damage(device, found.offset, found.why);
    return new KeptContainer(device, groups, options.sizeBytes);
  }

  get id(): Uint8Array {
    return this.groups.keptId;
  }

  get groupCount(): number {
    return this.groups.list.length;
  }

  /** Blocks that it has. */
  get keptBlocks(): number {
    return this.blocks.totalBytes;
  }

  /** Which these are. */
  keptRanges(): BlockRange[] {
    return this.blocks.list().map(({ start, end }) => ({ from: start, count: end - start }));
  }

  get usedBytes(): number {
    return this.groups.usedBytes;
  }

  /**
   * Keeps what the image holds in each block that the layer changes and that is not kept yet; durable when it returns. Throws
   * NO_SPACE where it is full.
   */
  async keep(image: BlockDevice, layer: Layer): Promise<void> {
    const missing = new RangeSet();
    for (const { start, end } of layer.list()) {
      const { from, count } = blocksWithin(start, end - start);
      for (const range of this.blocks.without(from, from + count)) missing.add(range.start, range.end);
    }
    if (missing.isEmpty) return;
    const runs: KeptRun[] = [];
    for (const { start, end } of missing.list()) runs.push(...(await this.runsOf(image, start, end)));
    const written: Group[] = [];
    for (const group of groupsOf(runs))
      written.push(await this.groups.append(await this.partsOf(image, group)));
    await this.groups.settle();
    this.add(written);
  }

  /** Reads all that is kept. Throws METADATA_DAMAGED where some of it is no good. */
  async verify(): Promise<void> {
    for (const group of this.groups.list) {
      if (await this.groups.isContentGood(group)) continue;
      throw damage(this.device, group.offset, `what group ${group.number} has kept is no good`);
    }
  }

  /** Puts all of it back; it is for the caller to flush the image. */
  async putBack(image: BlockDevice): Promise<void> {
    for (const group of this.groups.list) {
      for await (const { entry, content } of this.groups.contents(group)) {
        const offset = entry.block * BLOCK_BYTES;
        if (content === null) await image.writeZeroes(offset, runBytes(entry, this.sizeBytes));
        else await image.write(offset, content);
      }
    }
  }

  private add(groups: readonly Group[]): void {
    for (const { entries } of groups)
      for (const { block, count } of entries) this.blocks.add(block, block + count);
  }

  /** Blocks from `start` to `end`, told apart by what the image has there. */
  private async runsOf(image: BlockDevice, start: number, end: number): Promise<KeptRun[]> {
    // A filesystem may look through all of the file for the next hole: to read some blocks is less.
    if (end - start <= SHORT_BLOCKS) return [{ block: start, count: end - start, kind: 'data' }];
    const data = new RangeSet();
    const offset = start * BLOCK_BYTES;
    for (const extent of await image.extents(
      offset,
      runBytes({ block: start, count: end - start }, this.sizeBytes),
    )) {
      if (extent.kind !== 'data') continue;
      const { from, count } = blocksWithin(extent.offset, extent.length);
      data.add(from, from + count);
    }
    const run = (kind: KeptKind) => (range: { start: number; end: number }) => ({
      block: range.start,
      count: range.end - range.start,
      kind,
    });
    const holes = data.without(start, end).map(run('zeroes'));
    return [...holes, ...data.within(start, end).map(run('data'))];
  }

  private async partsOf(image: BlockDevice, runs: readonly KeptRun[]): Promise<KeptPart[]> {
    const parts: KeptPart[] = [];
    for (const run of runs) {
      const content = run.kind === 'data' ? new Uint8Array(runBytes(run, this.sizeBytes)) : null;
      if (content !== null) await image.read(run.block * BLOCK_BYTES, content);
      if (content === null || isZero(content)) parts.push({ run: { ...run, kind: 'zeroes' }, content: null });
      else parts.push({ run, content });
    }
    return parts;
  }
}

/** Cut so that a group is read and written at once. */
function groupsOf(runs: readonly KeptRun[]): KeptRun[][] {
  const groups: KeptRun[][] = [];
  let group: KeptRun[] = [];
  let room = 0;
  for (const run of runs.flatMap(short)) {
    const blocks = run.kind === 'data' ? run.count : 0;
    if (group.length === 0 || group.length === MOST_ENTRIES || blocks > room) {
      group = [];
      groups.push(group);
      room = MOST_BLOCKS;
    }
    group.push(run);
    room -= blocks;
  }
  return groups;
}

function short(run: KeptRun): KeptRun[] {
  if (run.kind !== 'data' || run.count <= MOST_BLOCKS) return [run];
  return Array.from({ length: Math.ceil(run.count / MOST_BLOCKS) }, (_, at) => ({
    block: run.block + at * MOST_BLOCKS,
    count: Math.min(MOST_BLOCKS, run.count - at * MOST_BLOCKS),
    kind: 'data',
  }));
}
