/** What a backup is, and whether it is good: `backup.json`, replaced as a whole. */
import { z } from 'zod';
import { replaceJson } from '../../device/replace-json.js';
import type { BackupPlaces } from './places.js';
import { FORMAT_VERSION, hexHash, hexId, readSealed, sealed } from './sealed-json.js';

const schema = z.object({
  formatVersion: z.literal(FORMAT_VERSION),
  kind: z.literal('backup'),
  name: z.string().min(1),
  setUuid: hexId,
  /** Random: what was there before under its name is another one. */
  id: hexId,
  /** The backup since which this one has what changed; null: it has all. */
  parent: z.object({ name: z.string().min(1), id: hexId }).nullable(),
  /** `running` and locked by nobody: it was cut. */
  state: z.enum(['running', 'good', 'failed', 'cancelled']),
  /** Why it is not good. */
  reason: z.string().nullable(),
  begunMs: z.number().int().nonnegative(),
  endedMs: z.number().int().nonnegative().nullable(),
  /** Of the volume. */
  sizeBytes: z.number().int().nonnegative(),
  /** What was put into it. */
  copiedBytes: z.number().int().nonnegative(),
  /** What `data` has: all that was put and was no zeroes. */
  dataBytes: z.number().int().nonnegative(),
  /** SHA-256 of `pieces`; null: it is not good. */
  piecesHash: hexHash.nullable(),
});

export type BackupRecord = z.infer<typeof schema>;

/** null: there is none. @throws UserError METADATA_DAMAGED */
export function readBackup({ record }: BackupPlaces): Promise<BackupRecord | null> {
  return readSealed(record, schema);
}

/** Durable when it returns. */
export function writeBackup({ record }: BackupPlaces, content: BackupRecord): Promise<void> {
  return replaceJson(record, sealed(content));
}
