/**
 * What is written and not committed, of all files: of those that are open, and what was kept of those that are not
 * (COMMANDS: journal status, commit, discard).
 */
import { countBits } from '../metadata/bits.js';
import type { FileInfo } from '../metadata/messages.js';
import type { ClientContext } from './context.js';
import type { CommitResult, FileJournal, JournalStatus } from './contract.js';
import type { ExtentFile } from './file.js';
import type { KeptFile } from './flags/contract.js';
import { forgetKept } from './giving-up.js';
import type { OpenFiles } from './open-files.js';
import type { AwayFile } from './opening.js';
import type { StoreFiles } from './store-files.js';

export class StoreJournal {
  constructor(
    private readonly context: ClientContext,
    private readonly open: OpenFiles,
    private readonly files: StoreFiles,
  ) {}

  async status(): Promise<JournalStatus> {
    const infos = new Map((await this.files.list()).map((info) => [info.file, info]));
    const files: FileJournal[] = [];
    for (const file of this.open.all()) if (file.hasUncommitted) files.push(file.journal);
    for (const [file, kept] of this.open.kept) {
      const info = infos.get(file);
      if (info !== undefined) files.push(keptJournal(info, kept));
    }
    for (const [file, away] of this.open.away) {
      const info = infos.get(file);
      if (info !== undefined) files.push(awayJournal(info, away));
    }
    const { reserve, completions } = this.context;
    return {
      files: files.sort((a, b) => (a.name < b.name ? -1 : 1)),
      transactions: completions.left,
      readyExtents: reserve.readyExtents,
      heldExtents: files.reduce((sum, { extents }) => sum + extents, 0),
    };
  }

  /** Of one file, or of all that have something: by name. Waits until they are complete. */
  async commit(name?: string): Promise<ReadonlyMap<string, CommitResult>> {
    const results = new Map<string, CommitResult>();
    await this.#each(name, async (file) => {
      results.set(file.name, await file.commit({ isComplete: true }));
    });
    return results;
  }

  /** The names of those that had something. */
  async discard(name?: string): Promise<string[]> {
    const names = this.open.away.size === 0 ? [] : await this.#discardAway(name);
    await this.#each(name, async (file) => {
      if (file.hasUncommitted) names.push(file.name);
      await file.discard();
    });
    return names;
  }

  async #discardAway(name?: string): Promise<string[]> {
    const names: string[] = [];
    for (const one of name === undefined ? await this.files.list() : [await this.files.get(name)]) {
      const away = this.open.away.get(one.file);
      if (away === undefined) continue;
      await forgetKept(this.context, { file: one.file, journal: away.journal });
      this.open.away.delete(one.file);
      names.push(one.name);
    }
    return names;
  }

  async #each(name: string | undefined, body: (file: ExtentFile) => Promise<void>): Promise<void> {
    const names = name === undefined ? (await this.status()).files.map((one) => one.name) : [name];
    for (const one of names) {
      const file = await this.open.open(await this.files.get(one), { access: 'write' });
      try {
        await body(file);
      } finally {
        await file.close();
      }
    }
  }
}

function keptJournal({ file, name, sizeBytes }: FileInfo, kept: KeptFile): FileJournal {
  const count = (flags: 'marked' | 'cleared') =>
    kept.extents.reduce((sum, place) => sum + countBits(place[flags]), 0);
  return {
    ...{ file, name, sizeBytes: kept.sizeBytes, committedSizeBytes: sizeBytes },
    extents: kept.extents.length,
    writtenBlocks: count('marked'),
    clearedBlocks: count('cleared'),
    flags: kept.where,
    away: null,
    isOpen: false,
  };
}

/** Which blocks they are, and the size, is what cannot be had. */
function awayJournal({ file, name, sizeBytes }: FileInfo, { where, cause, journal }: AwayFile): FileJournal {
  return {
    ...{ file, name, sizeBytes, committedSizeBytes: sizeBytes },
    extents: journal.length,
    writtenBlocks: 0,
    clearedBlocks: 0,
    flags: where,
    away: cause.message,
    isOpen: false,
  };
}
