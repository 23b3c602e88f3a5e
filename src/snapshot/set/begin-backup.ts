/**
 * How a backup comes into a set: its folder, its content empty and locked, and a `backup.json` that says `running`. Whoever
 * finds that and no lock knows that it was cut.
 */
import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises';
import { fileError } from '../../device/device-errors.js';
import { lockImage } from '../../device/image-lock.js';
import { syncDirectory } from '../../device/image-open.js';
import { UserError } from '../../errors.js';
import { type BackupRecord, writeBackup } from './backup-file.js';
import { BackupSet } from './backup-set.js';
import { assertBackupName, type BackupPlaces, placesOf } from './places.js';
import { FORMAT_VERSION } from './sealed-json.js';
import { withSetLocked } from './set-file.js';

export interface NewBackup {
  readonly name: string;
  /** The backup that this one has the changes since; null: it has all. */
  readonly since: string | null;
  /** Of the volume. */
  readonly sizeBytes: number;
  /** What the volume is called. */
  readonly label: string;
}

export interface BegunBackup {
  readonly places: BackupPlaces;
  readonly record: BackupRecord;
  /** Its lock lasts as long as it is open. */
  readonly data: FileHandle;
}

/**
 * @throws UserError USAGE (the name), FILE_EXISTS (it is taken), IN_USE (it is being made), REFUSED (the one since which it
 *   is to be is not good, or of another size), and what `BackupSet.chainOf` and the making of a set throw.
 */
export async function beginBackup(directory: string, wanted: NewBackup): Promise<BegunBackup> {
  assertBackupName(wanted.name);
  const fresh = { uuid: newId(), sizeBytes: wanted.sizeBytes, label: wanted.label };
  return withSetLocked(directory, fresh, async (content) => {
    const set = new BackupSet(directory, content);
    const parent = await parentFor(set, wanted);
    await makeRoom(set, wanted.name);
    const record: BackupRecord = {
      ...{
        formatVersion: FORMAT_VERSION,
        kind: 'backup',
        name: wanted.name,
        setUuid: content.uuid,
        id: newId(),
      },
      ...{ parent, state: 'running', reason: null, begunMs: Date.now(), endedMs: null },
      ...{ sizeBytes: wanted.sizeBytes, copiedBytes: 0, dataBytes: 0, piecesHash: null },
    };
    const places = placesOf(directory, wanted.name);
    return { places, record, data: await makeFolder(directory, places, record) };
  });
}

async function parentFor(set: BackupSet, { since, sizeBytes }: NewBackup): Promise<BackupRecord['parent']> {
  if (since === null) return null;
  const [parent] = await set.chainOf(since);
  const { name, id, sizeBytes: before } = parent!.record;
  if (before === sizeBytes) return { name, id };
  throw new UserError(
    'REFUSED',
    `the backup ${name} is of ${before} bytes, and the volume has ${sizeBytes}: none can be made since it`,
    { hint: 'Make one that has all, without --since.', details: { name, sizeBytes: before } },
  );
}

/** Takes away one of the name that is not good. */
async function makeRoom(set: BackupSet, name: string): Promise<void> {
  const there = await set.find(name);
  if (there === null) return;
  const { directory } = there.places;
  if (there.state === 'failed' || there.state === 'cancelled') {
    await rm(directory, { recursive: true, force: true }).catch((error: unknown) => {
      throw fileError(directory, 'removed', error);
    });
    return;
  }
  const [code, what] =
    there.state === 'running'
      ? (['IN_USE', 'is being made'] as const)
      : (['FILE_EXISTS', 'is there'] as const);
  throw new UserError(code, `the backup ${name} ${what} already`, {
    hint: 'Choose another name.',
    details: { file: directory, name },
  });
}

async function makeFolder(set: string, places: BackupPlaces, record: BackupRecord): Promise<FileHandle> {
  let data: FileHandle | undefined;
  try {
    await mkdir(places.directory);
    data = await open(places.data, 'wx+', 0o644);
    // Before it is said to be running: nobody may take it for one that was cut.
    await lockImage(places.data, data.fd, await data.stat({ bigint: true }), true);
    await writeBackup(places, record);
    await syncDirectory(set);
    return data;
  } catch (error) {
    await rm(places.directory, { recursive: true, force: true }).catch(() => undefined);
    await data?.close();
    throw fileError(places.directory, 'made', error);
  }
}

function newId(): string {
  return randomBytes(16).toString('hex');
}
