/**
 * Marks of backups in sets: from the moment of each on it is noted, durably, which blocks are changed, before they are. So the next one
 * `--since` it reads these alone; what was changed is exact after a kill and after a power cut too.
 *
 * Where there is no mark (it was made of another copy of the volume, it is too long ago, somebody else has written to the volume, a
 * list could not be written) an increment reads all that is in use, and compares.
 */
import { UserError } from '../../errors.js';
import type { BlockMap } from '../../replication/map/block-map.js';
import type { ListedBlocks } from '../../snapshot/backup/backup.js';
import type { Snapshots } from '../../snapshot/snapshots.js';
import type { Volume } from '../model.js';
import { putCacheOver } from '../stack.js';
import type { BackupInSet } from './target.js';

/** Increments are made since one of the last so many backups. */
const MOST_MARKS = 16;

export class BackupMark {
  #name: string | null = null;

  constructor(
    private readonly volume: Volume,
    private readonly inSet: BackupInSet,
    private readonly warn: (message: string) => void,
  ) {}

  /** The mark is at the moment at which `body` runs; `body` runs in any case. `chooseWithout`: as it is without marks. */
  async choose(name: string, body: () => void, chooseWithout: () => Promise<void>): Promise<void> {
    let isChosen = false;
    try {
      const snapshots = await this.#begin();
      const { id } = this.inSet;
      const mark = snapshots.list().some((moment) => moment.name === `backup:${name}`)
        ? `backup:${name}-${id.slice(0, 8)}`
        : `backup:${name}`;
      const asked = {
        name: mark,
        id,
        kind: 'mark',
        onOverflow: 'grow',
        place: '',
        layerBytes: null,
      } as const;
      await snapshots.create(asked, () => {
        isChosen = true;
        body();
      });
      this.#name = mark;
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      this.warn(`what is changed from now on is not noted: ${error.message}`);
      if (!isChosen) await chooseWithout();
    }
  }

  /** Of what is in use, what the backup before has not. After the moment was chosen. */
  async listed(used: BlockMap): Promise<ListedBlocks> {
    const { parentId, increment } = this.inSet;
    const { known: current } = this.volume.snapshots;
    const before = parentId === null ? null : (current?.nameOf(parentId) ?? null);
    if (before === null || increment === null) return { used, wanted: used };
    const wanted = increment.newlyUsed(used);
    const changed = current!.changedSince(before, this.#name);
    for (const run of changed.runs()) for (const part of used.runsWithin(run)) wanted.set(part);
    increment.isOfChanges = true;
    return { used, wanted };
  }

  /** Those that are too many go. The backup is whole by then: nothing that goes wrong here is a failure of it. */
  async prune(): Promise<void> {
    const { known: current } = this.volume.snapshots;
    try {
      const marks = current?.list().filter(({ kind }) => kind === 'mark') ?? [];
      for (const { name } of marks.slice(0, -MOST_MARKS)) await this.#remove(name);
    } catch (error) {
      this.warn(`older marks stay on the list: ${textOf(error)}`);
    }
  }

  /** There is no backup that anything could be since. */
  async forget(): Promise<void> {
    if (this.#name !== null) await this.#remove(this.#name);
  }

  async #begin(): Promise<Snapshots> {
    const { moments, snapshots, tracking } = this.volume;
    const begun = await snapshots.begin({ isDurable: true });
    if (moments !== null && begun.allowsCache) await putCacheOver(moments, tracking);
    return begun;
  }

  async #remove(name: string): Promise<void> {
    try {
      await this.volume.snapshots.current!.delete(name);
    } catch (error) {
      this.warn(`${name} could not be taken off the list: ${textOf(error)}`);
    }
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
