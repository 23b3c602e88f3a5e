/**
 * A backup since another one. Where it is known what was changed since, that is all that it is given, and it keeps it. Else it is
 * given all that is in use, and keeps the blocks of 4 KiB that differ: hashes tell what is alike, and of the backup before only the
 * pieces are read in which something differs.
 *
 * What is in use no more is zeroes in the increment, as it would be in a full one: both restore to the same bytes.
 */
import { allEnded } from '../../device/all-ended.js';
import { isZero } from '../../device/zeroes.js';
import type { BackupTarget } from '../backup/target.js';
import type { BackupReader } from './backup-reader.js';
import { differingRuns } from './differing-blocks.js';
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

  async put(offset: number, content: Uint8Array): Promise<void> {
    if (await this.#isAlike(offset, content)) return;
    if (this.isOfChanges) return this.writer.put(offset, content);
    const before = new Uint8Array(content.length);
    await this.parent.read(offset, before);
    const puts: Promise<void>[] = [];
    for (const { start, end } of differingRuns(content, before))
      puts.push(this.writer.put(offset + start, content.subarray(start, end)));
    await allEnded(puts);
  }

  async zero(offset: number, length: number): Promise<void> {
    for (const extent of await this.parent.extents(offset, length))
      if (extent.kind === 'data') await this.writer.zero(extent.offset, extent.length);
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
    if (known === 'zeroes') return isZero(content);
    return Buffer.compare(await hashOfContent(content), known) === 0;
  }
}
