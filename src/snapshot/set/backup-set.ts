/** A set that is there: which backups it has, and which of them a backup consists of. */
import { readdir } from 'node:fs/promises';
import { fileError } from '../../device/device-errors.js';
import { statOrNull } from '../../device/stat-or-null.js';
import { UserError } from '../../errors.js';
import type { BackupRecord } from './backup-file.js';
import { type BackupState, type FoundBackup, findBackup } from './backup-state.js';
import { damagedFile, isDamage, lostFile } from './damage.js';
import { assertBackupName, type BackupPlaces, isBackupFolder, placesOf } from './places.js';
import { readSet, type SetContent } from './set-file.js';

export interface BackupSummary {
  readonly name: string;
  readonly state: BackupState;
  /** Why it cannot be restored; null: it can, or it is running. */
  readonly reason: string | null;
  readonly parent: string | null;
  /** Milliseconds since 1970; these are null where nothing of it can be read. */
  readonly begunMs: number | null;
  readonly endedMs: number | null;
  readonly sizeBytes: number | null;
  readonly copiedBytes: number | null;
  readonly dataBytes: number | null;
}

/** One of a chain: it is good, and what it builds on follows it. */
export interface GoodBackup {
  readonly places: BackupPlaces;
  readonly record: BackupRecord;
}

/** Backups by name, each looked at once. */
type Look = (name: string) => Promise<FoundBackup | null>;

export class BackupSet {
  constructor(
    readonly directory: string,
    readonly content: SetContent,
  ) {}

  /** In the order in which they were begun. */
  async list(): Promise<BackupSummary[]> {
    const look = this.#looking();
    const summaries = (await this.#names()).map(async (name) => this.#summary((await look(name))!, look));
    return (await Promise.all(summaries)).sort(
      (a, b) => (a.begunMs ?? 0) - (b.begunMs ?? 0) || (a.name < b.name ? -1 : 1),
    );
  }

  /**
   * The backup and all that it builds on, the newest first.
   *
   * @throws UserError FILE_NOT_FOUND, IN_USE (it is being made), REFUSED (it is not good), METADATA_DAMAGED,
   *   DATA_UNAVAILABLE (one that it builds on is not there).
   */
  chainOf(name: string): Promise<readonly GoodBackup[]> {
    assertBackupName(name);
    return this.#chain(name, this.#looking());
  }

  /** null: there is none of that name. */
  async find(name: string): Promise<FoundBackup | null> {
    return this.#looking()(name);
  }

  async #names(): Promise<string[]> {
    const entries = await readdir(this.directory, { withFileTypes: true }).catch((error: unknown) => {
      throw fileError(this.directory, 'read', error);
    });
    return entries
      .filter((entry) => entry.isDirectory() && isBackupFolder(entry.name))
      .map(({ name }) => name);
  }

  #looking(): Look {
    const found = new Map<string, Promise<FoundBackup | null>>();
    return (name) => {
      const before = found.get(name) ?? this.#look(name);
      found.set(name, before);
      return before;
    };
  }

  async #look(name: string): Promise<FoundBackup | null> {
    const { directory } = placesOf(this.directory, name);
    const folder = await statOrNull(directory);
    return folder === null ? null : findBackup(this.directory, this.content, name);
  }

  /** One that is good and cannot be restored is shown as what it is. */
  async #summary({ places, state, reason, record }: FoundBackup, look: Look): Promise<BackupSummary> {
    const broken = state === 'good' ? await this.#whyBroken(places.name, look) : null;
    return {
      name: places.name,
      state: broken === null ? state : 'damaged',
      reason: broken ?? reason,
      parent: record?.parent?.name ?? null,
      begunMs: record?.begunMs ?? null,
      endedMs: record?.endedMs ?? null,
      sizeBytes: record?.sizeBytes ?? null,
      copiedBytes: record?.copiedBytes ?? null,
      dataBytes: record?.dataBytes ?? null,
    };
  }

  async #whyBroken(name: string, look: Look): Promise<string | null> {
    try {
      await this.#chain(name, look);
      return null;
    } catch (error) {
      if (!isDamage(error)) throw error;
      return error.message;
    }
  }

  async #chain(name: string, look: Look): Promise<readonly GoodBackup[]> {
    const chain: GoodBackup[] = [];
    const newest = this.#good(await look(name), name);
    for (let at: GoodBackup | null = newest; at !== null; at = await parentOf(at, look)) {
      if (chain.some(({ record }) => record.id === at?.record.id))
        throw damagedFile(at.places.record, 'it builds on itself');
      chain.push(at);
      if (at.record.sizeBytes !== newest.record.sizeBytes)
        throw damagedFile(newest.places.record, `it builds on ${at.record.name}, which is of another size`);
    }
    return chain;
  }

  #good(found: FoundBackup | null, name: string): GoodBackup {
    if (found === null)
      throw new UserError('FILE_NOT_FOUND', `${this.directory} has no backup ${name}`, {
        hint: `holdfast backup list ${this.directory}`,
        details: { file: this.directory, name },
      });
    const { places, record, state, reason, damage } = found;
    if (damage !== null) throw damage;
    if (state === 'good' && record !== null) return { places, record };
    const [code, why] =
      state === 'running'
        ? (['IN_USE', 'is being made'] as const)
        : (['REFUSED', `is not good: ${reason}`] as const);
    throw new UserError(code, `the backup ${name} ${why}`, {
      ...(state === 'running' ? {} : { hint: 'Make it again under the same name, or name another one.' }),
      details: { file: places.directory, name, state },
    });
  }
}

/** @throws UserError FILE_NOT_FOUND where there is none; METADATA_DAMAGED. */
export async function openSet(directory: string): Promise<BackupSet> {
  return new BackupSet(directory, await readSet(directory));
}

/** null: it has all itself. */
async function parentOf({ places, record }: GoodBackup, look: Look): Promise<GoodBackup | null> {
  if (record.parent === null) return null;
  const { name, id } = record.parent;
  const found = await look(name);
  const builds = `builds on the backup ${name}, which`;
  if (found === null) throw lostFile(places.directory, `${builds} is not there`);
  if (found.damage !== null)
    throw lostFile(places.directory, `${builds} is damaged: ${found.reason}`, found.damage);
  if (found.record?.id !== id) throw lostFile(places.directory, `${builds} was made anew since`);
  if (found.state !== 'good') throw lostFile(places.directory, `${builds} is not good: ${found.reason}`);
  return { places: found.places, record: found.record };
}
