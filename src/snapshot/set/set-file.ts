/**
 * What a set is: `set.json`, written once. It is also what is locked while a backup is begun in the set, so it is never
 * replaced: a set that was cut while it was made has nothing else in it, and is made anew.
 */
import { type FileHandle, mkdir, open, readdir } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { z } from 'zod';
import { fileError, systemCode } from '../../device/device-errors.js';
import { lockImage } from '../../device/image-lock.js';
import { syncDirectory } from '../../device/image-open.js';
import { UserError } from '../../errors.js';
import { isBackupFolder, setFile } from './places.js';
import { FORMAT_VERSION, hexId, readSealed, sealed, unsealed } from './sealed-json.js';

const PATIENCE_MS = 10_000;
const PAUSE_MS = 50;

const schema = z.object({
  formatVersion: z.literal(FORMAT_VERSION),
  kind: z.literal('backup-set'),
  uuid: hexId,
  /** Of the volume, at the first backup. */
  sizeBytes: z.number().int().nonnegative(),
  /** What the volume was called then. */
  label: z.string(),
  createdMs: z.number().int().nonnegative(),
});

export type SetContent = z.infer<typeof schema>;

/** @throws UserError FILE_NOT_FOUND where there is no set; METADATA_DAMAGED. */
export async function readSet(directory: string): Promise<SetContent> {
  const content = await readSealed(setFile(directory), schema);
  if (content !== null) return content;
  throw new UserError('FILE_NOT_FOUND', `${directory} is no backup set: there is no ${setFile(directory)}`, {
    hint: 'Check the path. A set is the directory that backups were made in.',
    details: { file: directory },
  });
}

/**
 * Does `use` while no other backup is begun in the set, which is made where there is none.
 *
 * @throws UserError IN_USE (another backup is being begun), NOT_BLANK (the directory has something else in it).
 */
export async function withSetLocked<R>(
  directory: string,
  fresh: Pick<SetContent, 'uuid' | 'sizeBytes' | 'label'>,
  use: (content: SetContent) => Promise<R>,
): Promise<R> {
  const path = setFile(directory);
  await makeDirectory(directory);
  const file = await open(path, 'a+', 0o644).catch((error: unknown) => {
    throw fileError(path, 'opened', error);
  });
  try {
    await lockPatiently(path, file);
    const text = await file.readFile('utf8');
    if (await isUnmade(directory, text)) return await use(await make(path, file, fresh));
    return await use(unsealed(path, text, schema));
  } finally {
    await file.close();
  }
}

/** A beginning is short: another one is waited for, and named if it takes long. */
async function lockPatiently(path: string, file: FileHandle): Promise<void> {
  const identity = await file.stat({ bigint: true });
  for (const endsMs = performance.now() + PATIENCE_MS; ; await setTimeout(PAUSE_MS)) {
    try {
      await lockImage(path, file.fd, identity, true);
      return;
    } catch (error) {
      const isHeld = error instanceof UserError && error.code === 'IN_USE';
      if (!isHeld || performance.now() > endsMs) throw error;
    }
  }
}

async function makeDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory);
    await syncDirectory(dirname(directory));
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw fileError(directory, 'made', error);
    const entries = await readdir(directory).catch((cause: unknown) => {
      throw fileError(directory, 'read', cause);
    });
    if (entries.includes(basename(setFile(directory))) || !entries.some(isBackupFolder)) return;
    throw new UserError('NOT_BLANK', `${directory} is no backup set, and there is something in it`, {
      hint: 'Name an empty or a new directory.',
      details: { file: directory },
    });
  }
}

/** One with backups in it that cannot be read is damaged. */
async function isUnmade(directory: string, text: string): Promise<boolean> {
  if (text !== '' && text.trimEnd().endsWith('}')) return false;
  const entries = await readdir(directory);
  return !entries.some(isBackupFolder);
}

async function make(
  path: string,
  file: FileHandle,
  fresh: Pick<SetContent, 'uuid' | 'sizeBytes' | 'label'>,
): Promise<SetContent> {
  const content: SetContent = {
    formatVersion: FORMAT_VERSION,
    kind: 'backup-set',
    ...fresh,
    createdMs: Date.now(),
  };
  try {
    await file.truncate(0);
    await file.appendFile(`${JSON.stringify(sealed(content), null, 2)}\n`);
    await file.sync();
    await syncDirectory(dirname(path));
  } catch (error) {
    throw fileError(path, 'written', error);
  }
  return content;
}
