/** What is done about backups of a volume that is open, by name (../operations.ts has all of these). */
import { z } from 'zod';
import { operation } from '../operation.js';
import { containerSchema } from './container-place.js';
import { createBackup } from './create.js';

const bytes = z.number().int().positive();

export const BACKUP_OPERATIONS = {
  // It changes nothing of the volume: others may be at work on it meanwhile.
  'backup create': operation(
    'read',
    z.object({
      name: z.string(),
      to: z.string(),
      isSet: z.boolean(),
      since: z.string().nullable(),
      snapshot: z.string().nullable().default(null),
      container: containerSchema,
      containerBytes: bytes.nullable(),
      onOverflow: z.enum(['drain', 'throttle', 'drop', 'fail', 'grow']),
      bytesPerSecond: bytes.nullable(),
      allBlocks: z.boolean().default(false),
      skipUnreadable: z.boolean().default(false),
      force: z.boolean().default(false),
    }),
    (volume, args, { signal, onProgress, warn }) =>
      createBackup(volume, { ...args, signal, onProgress, warn }),
  ),
  'backup status': operation('read', z.object({}), async ({ backups }) => ({ backup: backups.status() })),
  'backup cancel': operation('read', z.object({}), async ({ backups }) => ({
    cancelled: await backups.cancel(),
  })),
} as const;
