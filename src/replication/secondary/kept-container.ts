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
import { crc32c } from '@node-rs/crc32';
import type { BlockDevice } from '../../device/contract.js';
import { RangeSet } from '../../device/range-set.js';
import { UserError } from '../../errors.js';
import { BLOCK_BYTES, type BlockRange, blocksOf, blocksWithin } from '../blocks.js';
import { SECTOR_BYTES } from '../file-header.js';
import {
  decodeIndex,
  encodeIndex,
  indexBytes,
  indexLength,
  type KeptEntry,
  type KeptIndex,
  type KeptRun,
  MOST_ENTRIES,
  runBytes,
} from './kept-group.js';
import type { Layer } from './layer.js';
import { damage } from './slots.js';

/** Content of a group. */
const MOST_BLOCKS = 256;
/** Whether so few are a hole is not asked. */
const SHORT_BLOCKS = 64;

interface Group extends KeptIndex {
  readonly offset: number;
}

/** What a container of this many bytes of image takes at most, were each block kept by itself. Sparse: it takes what it keeps. */
export function keptBytesFor(sizeBytes: number): number {
  return blocksOf(sizeBytes) * (BLOCK_BYTES + SECTOR_BYTES) + BLOCK_BYTES;
}

export class KeptContainer {
  /** Numbers of blocks. */
  private readonly blocks = new RangeSet();
  private readonly groups: Group[] = [];
  private end = 0;

  private constructor(
    private readonly device: BlockDevice,
    private readonly keptId: Uint8Array,
    private readonly sizeBytes: number,
  ) {}

  /** Nothing is in it; what lies there has another id. */
  static empty(device: BlockDevice, keptId: Uint8Array, sizeBytes: number): KeptContainer {
    return new KeptContainer(device, keptId, sizeBytes);
  }

  /** Reads the indexes. Throws METADATA_DAMAGED where there are fewer good groups than `sureGroups`. */
  static async open(
    device: BlockDevice,
    { keptId, sizeBytes, sureGroups }: { keptId: Uint8Array; sizeBytes: number; sureGroups: number },
  ): Promise<KeptContainer> {
    const container = new KeptContainer(device, keptId, sizeBytes);
    for (;;) {
      const group = await container.readGroup();
      const isSure = container.groups.length < sureGroups;
      if (group === null && isSure)
        throw damage(
          device,
          container.end,
          `${sureGroups} groups were kept, and number ${container.groups.length} is no good`,
        );
      if (group === null || (!isSure && !(await container.isContentGood(group)))) return container;
      container.add(group);
    }
  }

  get id(): Uint8Array {
    return this.keptId;
  }

  get groupCount(): number {
    return this.groups.length;
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
    return this.end;
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
    let at = this.end;
    for (const group of groupsOf(runs)) {
      written.push(await this.write(image, group, at, this.groups.length + written.length));
      at += written.at(-1)!.indexBytes + written.at(-1)!.contentBytes;
    }
    await this.device.flush();
    for (const group of written) this.add(group);
  }

  /** Reads all that is kept. Throws METADATA_DAMAGED where some of it is no good. */
  async verify(): Promise<void> {
    for (const group of this.groups) {
      if (await this.isContentGood(group)) continue;
      throw damage(this.device, group.offset, `what group ${group.number} has kept is no good`);
    }
  }

  /** Puts all of it back; it is for the caller to flush the image. */
  async putBack(image: BlockDevice): Promise<void> {
    for (const group of this.groups) {
      for await (const { entry, content } of this.contents(group)) {
        const offset = entry.block * BLOCK_BYTES;
        if (content === null) await image.writeZeroes(offset, runBytes(entry, this.sizeBytes));
        else await image.write(offset, content);
      }
    }
  }

  private add(group: Group): void {
    this.groups.push(group);
    this.end = group.offset + group.indexBytes + group.contentBytes;
    for (const { block, count } of group.entries) this.blocks.add(block, block + count);
  }

  /** The next one, of which the index is good. */
  private async readGroup(): Promise<Group | null> {
    const { device, end: offset } = this;
    if (offset + SECTOR_BYTES > device.size) return null;
    const sector = new Uint8Array(SECTOR_BYTES);
    await device.read(offset, sector);
    const length = indexLength(sector, this.keptId, this.groups.length);
    if (length === null || offset + length > device.size) return null;
    const bytes = new Uint8Array(length);
    await device.read(offset, bytes);
    const index = decodeIndex(bytes, this.sizeBytes);
    return index === null || offset + length + index.contentBytes > device.size ? null : { ...index, offset };
  }

  private async isContentGood(group: Group): Promise<boolean> {
    for await (const { entry, content } of this.contents(group))
      if (content !== null && crc32c(content) !== entry.checksum) return false;
    return true;
  }

  private async *contents(
    group: Group,
  ): AsyncGenerator<{ readonly entry: KeptEntry; readonly content: Uint8Array | null }> {
    let at = group.offset + group.indexBytes;
    for (const entry of group.entries) {
      if (entry.isZero) {
        yield { entry, content: null };
        continue;
      }
      const content = new Uint8Array(runBytes(entry, this.sizeBytes));
      await this.device.read(at, content);
      at += content.length;
      yield { entry, content };
    }
  }

  /** Blocks from `start` to `end`, told apart by what the image has there. */
  private async runsOf(image: BlockDevice, start: number, end: number): Promise<KeptRun[]> {
    // A filesystem may look through all of the file for the next hole: to read some blocks is less.
    if (end - start <= SHORT_BLOCKS) return [{ block: start, count: end - start, isZero: false }];
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
    const run = (isZero: boolean) => (range: { start: number; end: number }) => ({
      block: range.start,
      count: range.end - range.start,
      isZero,
    });
    const holes = data.without(start, end).map(run(true));
    return [...holes, ...data.within(start, end).map(run(false))];
  }

  private async write(
    image: BlockDevice,
    runs: readonly KeptRun[],
    offset: number,
    number: number,
  ): Promise<Group> {
    const content: Uint8Array[] = [];
    const entries: KeptEntry[] = [];
    for (const run of runs) {
      if (run.isZero) {
        entries.push({ ...run, checksum: 0 });
        continue;
      }
      const bytes = new Uint8Array(runBytes(run, this.sizeBytes));
      await image.read(run.block * BLOCK_BYTES, bytes);
      if (bytes.every((byte) => byte === 0)) {
        entries.push({ ...run, isZero: true, checksum: 0 });
        continue;
      }
      content.push(bytes);
      entries.push({ ...run, checksum: crc32c(bytes) });
    }
    const contentBytes = content.reduce((sum, { length }) => sum + length, 0);
    const group = { number, entries, offset, indexBytes: indexBytes(entries.length), contentBytes };
    const endsAt = offset + group.indexBytes + contentBytes;
    if (endsAt > this.device.size) {
      const why = `${this.device.name}: the container of ${this.device.size} bytes is full`;
      throw new UserError('NO_SPACE', why, { details: { image: this.device.name, offsetBytes: offset } });
    }
    await this.device.write(offset, [encodeIndex(this.keptId, number, entries, contentBytes), ...content]);
    return group;
  }
}

/** Cut so that a group is read and written at once. */
function groupsOf(runs: readonly KeptRun[]): KeptRun[][] {
  const groups: KeptRun[][] = [];
  let group: KeptRun[] = [];
  let room = 0;
  for (const run of runs.flatMap(short)) {
    const blocks = run.isZero ? 0 : run.count;
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
  if (run.isZero || run.count <= MOST_BLOCKS) return [run];
  return Array.from({ length: Math.ceil(run.count / MOST_BLOCKS) }, (_, at) => ({
    block: run.block + at * MOST_BLOCKS,
    count: Math.min(MOST_BLOCKS, run.count - at * MOST_BLOCKS),
    isZero: false,
  }));
}
