/** What is done to the replicas of a volume by name, here or in its server (operations.ts has all operations). */
import { z } from 'zod';
import { UserError } from '../../errors.js';
import type { Volume } from '../model.js';
import { operation } from '../operation.js';
import { disableTracking, enableTracking } from './enable.js';
import { SYNC_METHODS } from './in-sync.js';
import { limitsSchema } from './replicas-file.js';
import type { VolumeReplicas } from './volume-replicas.js';

const name = z.string().min(1);

export const REPLICA_OPERATIONS = {
  'replica tracking enable': operation('write', z.object({}), async (volume) => ({
    enabled: await enableTracking(volume),
  })),
  'replica tracking disable': operation('write', z.object({}), async (volume, _, { isServed }) => {
    if (volume.tracking.replicas !== null && isServed === true)
      throw new UserError(
        'REFUSED',
        `${volume.label} is served: what it writes is tracked until its server stops`,
        {
          hint: 'Stop the server, then disable tracking.',
        },
      );
    return { disabled: await disableTracking(volume) };
  }),
  'replica add': operation(
    'write',
    z.object({
      name: name.optional(),
      to: z.string().min(1),
      mode: z.enum(['async', 'sync']),
      onLoss: z.enum(['continue', 'stop']),
      force: z.boolean().default(false),
      limits: limitsSchema.default({}),
      usesAll: z.boolean().default(false),
      discardChanges: z.boolean().default(false),
    }),
    // Of a filesystem that somebody has mounted, what is on disk does not say yet which blocks it has just taken.
    async (volume, { discardChanges, ...args }, { isServed }) => {
      const replicas = replicasOf(volume);
      if (discardChanges) return replicas.rejoin({ ...args, usesAll: true });
      const added = await replicas.add({ ...args, usesAll: args.usesAll || isServed === true });
      return { ...added, discardedBlocks: null };
    },
  ),
  'replica remove': operation('write', z.object({ name }), async (volume, args) => {
    const { to } = await replicasOf(volume).remove(args.name);
    return { name: args.name, to };
  }),
  'replica pause': operation('write', z.object({ name }), (volume, args) =>
    replicasOf(volume).pause(args.name),
  ),
  'replica resume': operation(
    'write',
    z.object({ name, discardChanges: z.boolean().default(false) }),
    (volume, args) => {
      const replicas = replicasOf(volume);
      return args.discardChanges ? replicas.discard(args.name) : replicas.resume(args.name);
    },
  ),
  'replica sync': operation(
    'write',
    z.object({ name, method: z.enum(SYNC_METHODS).default('sweep') }),
    async (volume, args, reporting) => {
      const replicas = replicasOf(volume);
      // What is in the cache above has been written too, as far as the user knows.
      await volume.device.flush();
      return replicas.sync(args.name, reporting, args.method);
    },
  ),
  'replica verify': operation(
    'write',
    z.object({ name, repair: z.boolean().default(false) }),
    async (volume, args, { signal }) => {
      const replicas = replicasOf(volume);
      await volume.device.flush();
      return replicas.verify(args.name, args.repair, signal);
    },
  ),
} as const;

function replicasOf(volume: Volume): VolumeReplicas {
  const { label, tracking } = volume;
  if (tracking.replicas !== null) return tracking.replicas;
  throw new UserError('REFUSED', `${label}: what is written to it is not tracked, and it has no replicas`, {
    hint: 'holdfast replica tracking enable',
    details: { image: label },
  });
}
