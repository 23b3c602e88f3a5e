/**
 * A backup since another one. Where it is known what was changed since, that is all that it is given, and it keeps it. Else it is
 * given all that is in use, and keeps the blocks of 4 KiB that differ: hashes tell what is alike, and of the backup before only the
 * pieces are read in which something differs.
 *
 * What is in use no more is zeroes in the increment, as it would be in a full one: both restore to the same bytes. But that it was
 * in use, or not, is told of each block: what comes into use is read, whatever was noted.
 */
import { allEnded } from '../../device/all-ended.js';
import { isZero } from '../../device/zeroes.js';
import { BLOCK_BYTES, blocksFilled, blocksOf } from '../../replication/blocks.js';
import { BlockMap } from '../../replication/map/block-map.js';
import type { BackupTarget } from '../backup/target.js';
import type { BackupReader } from './backup-reader.js';
import { type DifferingRun, differingRuns } from './differing-blocks.js';
import { hashOfContent } from './piece-hash.js';
import type { SetWriter } from './set-writer.js';

export class Increment implements BackupTarget {
  readonly name: string;
  /** What comes is what was changed, and need not be compared. */
  isOfChanges = false;

  constructor(
    private readonly writer: SetWriter,
    readonly parent: BackupReader,
  ) {
    this.name = writer.name;
  }

  /** In use now, and not when the backup before was made: what is there may be from before its moment, as files are written before it is said where. */
  newlyUsed(used: BlockMap): BlockMap {
    const { parent } = this;
    const fresh = new BlockMap(blocksOf(parent.size));
    for (const { from, count } of used.runs()) {
      const offset = from * BLOCK_BYTES;
      const end = Math.min((from + count) * BLOCK_BYTES, parent.size);
      for (const { offset: start, length } of parent.unused(offset, end - offset))
        fresh.set(blocksFilled(start, length, parent.size));
    }
    return fresh;
  }

  async put(offset: number, content: Uint8Array): Promise<void> {
    if (await this.#isAlike(offset, content)) return;
    if (this.isOfChanges) return this.writer.put(offset, content);
    const before = new Uint8Array(content.length);
    await this.parent.read(offset, before);
    const puts: Promise<void>[] = [];
    for (const { start, end } of differingRuns(content, before))
      puts.push(this.writer.put(offset + start, content.subarray(start, end)));
    for (const { start, end } of this.#usedZeroes(offset, content))
      puts.push(this.writer.put(offset + start, content.subarray(start, end)));
    await allEnded(puts);
  }

  /** Of zeroes too: what is written there before somebody uses it again is not noted as changed since. */
  async zero(offset: number, length: number): Promise<void> {
    const tell = (from: number, end: number) => (end > from ? this.writer.zero(from, end - from) : undefined);
    let at = offset;
    for (const unused of this.parent.unused(offset, length)) {
      await tell(at, unused.offset);
      at = unused.offset + unused.length;
    }
    await tell(at, offset + length);
  }

  async finish(): Promise<void> {
    await this.writer.finish();
    await this.parent.close();
  }

  async abandon(state: 'failed' | 'cancelled', reason: string): Promise<boolean> {
    try {
      return await this.writer.abandon(state, reason);
    } finally {
      await this.parent.close();
    }
  }

  /** Where it can be told without reading the backup. */
  async #isAlike(offset: number, content: Uint8Array): Promise<boolean> {
    const known = this.parent.known(offset, content.length);
    if (known === null) return false;
    if (known === 'zeroes') return isZero(content) && this.#usedZeroes(offset, content).next().done === true;
    return Buffer.compare(await hashOfContent(content), known) === 0;
  }

  /** Zeroes that are in use now, and were not then: both read alike, and the increment says so that they are in use. */
  *#usedZeroes(offset: number, content: Uint8Array): Generator<DifferingRun> {
    for (const { offset: from, length } of this.parent.unused(offset, content.length)) {
      const start = from - offset;
      const end = start + length;
      let at = start;
      for (const data of differingRuns(null, content.subarray(start, end))) {
        if (start + data.start > at) yield { start: at, end: start + data.start };
        at = start + data.end;
      }
      if (at < end) yield { start: at, end };
    }
  }
}
