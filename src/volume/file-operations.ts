/**
 * What is done to the files of a volume of the format `extents`, and to their journal, by its name: here, or by the
 * server that has the volume open. The bytes of files go another way (file-data.ts).
 */
import { z } from 'zod';
import { UserError } from '../errors.js';
import type { ExtentStore, FileInfo } from '../extents/index.js';
import type { Volume } from './model.js';
import { operation } from './operation.js';

const name = z.string();
const some = z.object({ name: name.optional() });

/** A file, as it is shown. */
export interface FileStatus {
  readonly name: string;
  readonly sizeBytes: number;
  readonly createdMs: number;
  readonly isReadOnly: boolean;
  readonly reservedExtents: number;
  /** The name of the file that it is a snapshot of; null: of none, or of one that is gone. */
  readonly snapshotOf: string | null;
}

export const FILE_OPERATIONS = {
  'file create': operation(
    'write',
    z.object({
      name,
      sizeBytes: z.number(),
      reserveBytes: z.number(),
      /** Of one that is about to be written: as long as this where the volume is served. Disks do not grow. */
      fullSizeBytes: z.number().nullable().optional(),
    }),
    async (volume, { name, sizeBytes, reserveBytes, fullSizeBytes }) => {
      const store = await storeOf(volume);
      const isServed = volume.files?.isServed === true;
      if (isServed && fullSizeBytes === null) throw lengthNotKnown(name);
      const size = isServed ? (fullSizeBytes ?? sizeBytes) : sizeBytes;
      const made = await store.files.create(name, { sizeBytes: size, reserveBytes });
      await volume.files?.announce(name, 'made');
      return shown(made, []);
    },
  ),
  'file list': operation('read', z.object({}), async (volume) => {
    const files = await (await storeOf(volume)).files.list();
    return { files: files.map((file) => shown(file, files)) };
  }),
  'file remove': operation('write', z.object({ name }), async (volume, { name }) => {
    const store = await storeOf(volume);
    await store.files.get(name);
    // Refused for one that is a disk of somebody's.
    await volume.files?.announce(name, 'removed');
    try {
      await store.files.remove(name);
    } catch (error) {
      await volume.files?.announce(name, 'made');
      throw error;
    }
    return { name };
  }),
  'file remove --dry-run': operation('read', z.object({ name }), async (volume, { name }) => {
    const { sizeBytes } = await (await storeOf(volume)).files.get(name);
    return { dryRun: true, name, sizeBytes };
  }),
  'file snapshot': operation('write', z.object({ name, as: name }), async (volume, args) => {
    const store = await storeOf(volume);
    const origin = await store.files.get(args.name);
    const made = await store.files.snapshot(args.name, args.as);
    await volume.files?.announce(args.as, 'made');
    return shown(made, [origin]);
  }),
  'journal status': operation('read', z.object({}), async (volume) => {
    const store = await storeOf(volume);
    return { ...(await store.journal.status()), space: await store.space() };
  }),
  'journal commit': operation('write', some, async (volume, { name }) => {
    const committed = await (await storeOf(volume)).journal.commit(name);
    return { files: [...committed].map(([file, result]) => ({ name: file, ...result })) };
  }),
  'journal discard': operation('write', some, async (volume, { name }) => ({
    files: await (await storeOf(volume)).journal.discard(name),
  })),
  'journal discard --dry-run': operation('read', some, async (volume, { name }) => {
    const store = await storeOf(volume);
    if (name !== undefined) await store.files.get(name);
    const { files } = await store.journal.status();
    const waiting = files.map((file) => file.name);
    return { dryRun: true, files: waiting.filter((each) => name === undefined || each === name) };
  }),
} as const;

/** The files of a volume that has some. @throws UserError UNSUPPORTED for one that is the user's own bytes. */
export function storeOf({ files, label }: Volume): Promise<ExtentStore> {
  if (files !== null) return files.store();
  throw new UserError('UNSUPPORTED', `${label} holds no files: its format is raw`, {
    hint: 'holdfast create --format extents makes a volume that holds files',
  });
}

function lengthNotKnown(name: string): UserError {
  return new UserError(
    'UNSUPPORTED',
    `${name}: a volume that is served takes no input whose length is not known`,
    {
      hint: 'name a file (--input FILE), or make the file first with its size',
    },
  );
}

function shown(
  { name, sizeBytes, createdMs, isReadOnly, reservedExtents, snapshotOf }: FileInfo,
  all: readonly FileInfo[],
): FileStatus {
  const origin = all.find(({ file }) => file === snapshotOf)?.name ?? null;
  return { name, sizeBytes, createdMs, isReadOnly, reservedExtents, snapshotOf: origin };
}
