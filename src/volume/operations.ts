/**
 * What is done to an open volume by its name, so that it can be done here, or by the server that has the volume open.
 * Arguments and results are JSON: they cross the control socket.
 */
import { z } from 'zod';
import { UserError } from '../errors.js';
import { failMember, slotOf } from '../raid/membership.js';
import { BACKUP_OPERATIONS } from './backup/operations.js';
import type { OperationReporting } from './control/control-server.js';
import { FILE_OPERATIONS } from './file-operations.js';
import { addMember } from './members.js';
import { arrayOf, type Volume } from './model.js';
import { argumentsOf, operation } from './operation.js';
import { removeMember } from './removal.js';
import { REPLICA_OPERATIONS } from './replication/operations.js';
import { SNAPSHOT_OPERATIONS } from './snapshots/operations.js';

const slot = z.number().int().nonnegative();

export const OPERATIONS = {
  ...FILE_OPERATIONS,
  ...REPLICA_OPERATIONS,
  ...BACKUP_OPERATIONS,
  ...SNAPSHOT_OPERATIONS,
  /** What its bytes are; the unnamed export of a volume of files is one of its files. */
  format: operation('read', z.object({}), async ({ files }) => ({
    format: files === null ? 'raw' : 'extents',
  })),
  scrub: operation('read', z.object({}), (volume, _, reporting) => scrub(volume, false, reporting)),
  'scrub --repair': operation('write', z.object({}), (volume, _, reporting) =>
    scrub(volume, true, reporting),
  ),
  'member fail': operation('write', z.object({ slot }), async (volume, args) => {
    const { image } = await failMember(arrayOf(volume), args.slot);
    return { slot: args.slot, image };
  }),
  'member fail --dry-run': operation('read', z.object({ slot }), async (volume, args) => ({
    dryRun: true,
    slot: args.slot,
    image: slotOf(arrayOf(volume), args.slot).member?.image ?? null,
  })),
  'member remove': operation(
    'write',
    z.object({ slot: slot.optional(), image: z.string().optional() }),
    async (volume, args) => {
      const { slot, image, state } = await removeMember(volume, args);
      return { slot, image, wasState: state };
    },
  ),
  'member add': operation(
    'write',
    z.object({
      slot: slot.optional(),
      image: z.string().optional(),
      replace: z.boolean(),
      force: z.boolean().default(false),
    }),
    (volume, args, { signal, onProgress }) => addMember(volume, { ...args, sweep: { signal, onProgress } }),
  ),
} as const;

export type OperationName = keyof typeof OPERATIONS;
export type OperationArguments<N extends OperationName> = z.infer<(typeof OPERATIONS)[N]['schema']>;
export type OperationResult<N extends OperationName> = Awaited<ReturnType<(typeof OPERATIONS)[N]['run']>>;

/** Does one whose volume is open here. */
export function runOperation<N extends OperationName>(
  volume: Volume,
  name: N,
  args: OperationArguments<N>,
  reporting: OperationReporting,
): Promise<OperationResult<N>> {
  // Of a union of functions TypeScript cannot tell that these arguments are this one's.
  const run = OPERATIONS[name].run as unknown as (
    volume: Volume,
    args: OperationArguments<N>,
    reporting: OperationReporting,
  ) => Promise<OperationResult<N>>;
  return run(volume, args, reporting);
}

/**
 * Does what somebody else asks for, who may be of another version.
 *
 * @throws UserError UNSUPPORTED for a name that is none here, USAGE for arguments that are none of it,
 *   PERMISSION_DENIED for what would change a volume that is open read only; and what the operation throws.
 */
export async function runRequested(
  volume: Volume,
  name: string,
  args: unknown,
  reporting: OperationReporting,
): Promise<unknown> {
  if (!isOperation(name)) {
    throw new UserError(
      'UNSUPPORTED',
      `${volume.label} is served by a holdfast that cannot do this online: ${name}`,
      {
        hint: 'stop the server, and do it then',
      },
    );
  }
  const { schema, access } = OPERATIONS[name];
  if (access === 'write' && volume.device.readOnly)
    throw new UserError('PERMISSION_DENIED', `${volume.label} is served read only: ${name} would change it`);
  const asked = argumentsOf<z.ZodType>(name, schema, args);
  return runOperation(volume, name, asked as OperationArguments<typeof name>, {
    ...reporting,
    isServed: true,
  });
}

export function isOperation(name: string): name is OperationName {
  return Object.hasOwn(OPERATIONS, name);
}

/** `repair`: parity is made anew where it does not match. */
async function scrub(volume: Volume, repair: boolean, { signal, onProgress }: OperationReporting) {
  const array = arrayOf(volume);
  const { degradedSlots, suspect } = array.core;
  const isDirty = !suspect.isEmpty;
  // With a member missing there is no redundancy: nothing is wrong with parity, and nothing right.
  const found =
    degradedSlots.length > 0 ? NOTHING_CHECKED : await array.scrub({ signal, onProgress, repair });
  return { ...found, degradedSlots, isDirty };
}

const NOTHING_CHECKED = {
  checkedStripes: 0,
  mismatchedStripes: 0,
  mismatchedRows: [] as readonly number[],
  mismatchCount: 0,
  repairedStripes: 0,
  skippedRows: 0,
};
