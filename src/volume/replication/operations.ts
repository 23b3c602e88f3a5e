/** What is done to the replicas of a volume by name, here or in its server (operations.ts has all operations). */
import { z } from 'zod';
import type { BlockDevice } from '../../device/contract.js';
import { UserError } from '../../errors.js';
import type { OperationReporting } from '../control/control-server.js';
import { argumentsOf, operation } from '../operation.js';
import { disableTracking, enableTracking } from './enable.js';
import { SYNC_METHODS } from './in-sync.js';
import { limitsSchema } from './replicas-file.js';
import type { VolumeReplicas } from './volume-replicas.js';

const name = z.string().min(1);

/** What has replicas: a volume, or a secondary with its own. */
export interface Replicated {
  readonly label: string;
  readonly device: Pick<BlockDevice, 'flush'>;
  readonly tracking: { readonly replicas: VolumeReplicas | null };
}

export const REPLICA_ENABLE = 'replica tracking enable';
export const REPLICA_DISABLE = 'replica tracking disable';

/** Of replicas that there are: also of a secondary's own, in its server. */
const OWN_OPERATIONS = {
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
    async (volume: Replicated, { discardChanges, ...args }, { isServed }) => {
      const replicas = replicasOf(volume);
      if (discardChanges) return replicas.rejoin({ ...args, usesAll: true });
      const added = await replicas.add({ ...args, usesAll: args.usesAll || isServed === true });
      return { ...added, discardedBlocks: null };
    },
  ),
  'replica remove': operation('write', z.object({ name }), async (volume: Replicated, args) => {
    const { to } = await replicasOf(volume).remove(args.name);
    return { name: args.name, to };
  }),
  'replica pause': operation('write', z.object({ name }), (volume: Replicated, args) =>
    replicasOf(volume).pause(args.name),
  ),
  'replica resume': operation(
    'write',
    z.object({ name, discardChanges: z.boolean().default(false) }),
    (volume: Replicated, args) => {
      const replicas = replicasOf(volume);
      return args.discardChanges ? replicas.discard(args.name) : replicas.resume(args.name);
    },
  ),
  'replica sync': operation(
    'write',
    z.object({ name, method: z.enum(SYNC_METHODS).default('sweep') }),
    async (volume: Replicated, args, reporting) => {
      const replicas = replicasOf(volume);
      // What is in the cache above has been written too, as far as the user knows.
      await volume.device.flush();
      return replicas.sync(args.name, reporting, args.method);
    },
  ),
  'replica verify': operation(
    'write',
    z.object({ name, repair: z.boolean().default(false) }),
    async (volume: Replicated, args, { signal }) => {
      const replicas = replicasOf(volume);
      await volume.device.flush();
      return replicas.verify(args.name, args.repair, signal);
    },
  ),
} as const;

export const REPLICA_OPERATIONS = {
  [REPLICA_ENABLE]: operation('write', z.object({}), async (volume) => ({
    enabled: await enableTracking(volume),
  })),
  [REPLICA_DISABLE]: operation('write', z.object({}), async (volume, _, { isServed }) => {
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
  ...OWN_OPERATIONS,
} as const;

export function isReplicaOperation(name: string): boolean {
  return Object.hasOwn(REPLICA_OPERATIONS, name);
}

/**
 * Of a secondary. @throws UserError USAGE for arguments that are none of it, or that a secondary cannot do; and what the operation
 * throws.
 */
export function runReplicaOperation(
  volume: Replicated,
  name: string,
  args: unknown,
  reporting: OperationReporting,
): Promise<unknown> {
  const { schema, run } = OWN_OPERATIONS[name as keyof typeof OWN_OPERATIONS];
  const asked = argumentsOf(name, schema, args);
  if ('mode' in asked && asked.mode === 'sync')
    throw new UserError('USAGE', `${volume.label} is a secondary: its replicas are asynchronous`, {
      hint: 'Leave out --mode sync; or give its primary that replica too, which waits for both then.',
    });
  // Of a union of functions TypeScript cannot tell that these arguments are this one's.
  return (run as (volume: Replicated, args: unknown, reporting: OperationReporting) => Promise<unknown>)(
    volume,
    asked,
    { ...reporting, isServed: true },
  );
}

function replicasOf({ label, tracking }: Replicated): VolumeReplicas {
  if (tracking.replicas !== null) return tracking.replicas;
  throw new UserError('REFUSED', `${label}: what is written to it is not tracked, and it has no replicas`, {
    hint: 'holdfast replica tracking enable',
    details: { image: label },
  });
}
