/** What is done about snapshots of a volume that is open, by name (../operations.ts has all of these). */
import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { UserError } from '../../errors.js';
import { faultOfName } from '../../names.js';
import { assertInOneImage } from '../in-one-image.js';
import type { Volume } from '../model.js';
import { operation } from '../operation.js';
import { cacheOf, putCacheOver } from '../stack.js';
import { type SnapshotStatus, snapshotsOpen } from './status.js';
import { overRange } from './take-range.js';

const containerSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('beside') }),
  z.object({ kind: z.literal('file'), path: z.string() }),
  z.object({ kind: z.literal('memory') }),
  z.object({ kind: z.literal('range'), offset: z.number().int(), length: z.number().int() }),
]);

export type SnapshotContainer = z.infer<typeof containerSchema>;

const createSchema = z.object({
  name: z.string(),
  container: containerSchema,
  containerBytes: z.number().int().positive().nullable(),
  /** null: of a range drop, else grow. */
  onOverflow: z.enum(['grow', 'throttle', 'drop', 'fail']).nullable(),
});

/** Where it may not grow, of a file or in memory. */
const DEFAULT_BYTES = { beside: 1024 ** 3, file: 1024 ** 3, memory: 64 * 1024 ** 2 } as const;

export const SNAPSHOT_OPERATIONS = {
  'snapshot create': operation('write', createSchema, (volume, asked, { isServed = false }) =>
    createSnapshot(volume, asked, isServed),
  ),
  'snapshot list': operation('read', z.object({}), async ({ snapshots }) => ({
    snapshots: snapshotsOpen(snapshots.current?.list() ?? []),
  })),
  'snapshot delete': operation('write', z.object({ name: z.string() }), async (volume, { name }) => {
    const { current } = volume.snapshots;
    if (current === null) throw noSnapshot(volume.label, name);
    await current.delete(name);
    return { name };
  }),
} as const;

async function createSnapshot(
  volume: Volume,
  { name, container, containerBytes, ...asked }: z.infer<typeof createSchema>,
  isServed: boolean,
): Promise<SnapshotStatus> {
  const { label, snapshots, moments, tracking, device } = volume;
  const fault =
    faultOfName(name) ?? (name.includes('@') ? 'it has an @, which stands before it in exports' : null);
  if (fault !== null) throw new UserError('USAGE', `"${name}" cannot be the name of a snapshot: ${fault}`);
  const kind = container.kind === 'memory' ? 'volatile' : 'snapshot';
  if (kind === 'volatile' && !isServed) throw forNobody(label);
  const onOverflow = asked.onOverflow ?? (container.kind === 'range' ? 'drop' : 'grow');
  if (onOverflow === 'fail' && cacheOf(device) !== null) throw answeredAlready(label);
  if (container.kind === 'range') assertSizeOfRange(onOverflow, containerBytes);
  if (onOverflow === 'grow' && containerBytes !== null) throw sizeOfGrowing();
  const place = container.kind === 'file' ? container.path : '';
  if (container.kind === 'file' && !isAbsolute(place)) throw new Error(`${place} is not absolute`);
  await assertInOneImage(volume, device);
  const current = await snapshots.begin({ isDurable: kind === 'snapshot' });
  // A volatile one costs no barrier.
  if (kind === 'snapshot' && onOverflow !== 'fail' && current.allowsCache)
    await putCacheOver(moments!, tracking);
  const make = (own: string, layerBytes: number | null) =>
    current.create({ name, kind, onOverflow, place: own, layerBytes });
  if (container.kind === 'range') await overRange(volume, container, (own) => make(own, container.length));
  else {
    const usual = onOverflow === 'grow' ? null : DEFAULT_BYTES[container.kind];
    await make(place, containerBytes === null ? usual : wholeSectors(containerBytes));
  }
  return snapshotsOpen(current.list()).find((one) => one.name === name)!;
}

function wholeSectors(bytes: number): number {
  return Math.ceil(bytes / 4096) * 4096;
}

export function noSnapshot(label: string, name: string): UserError {
  return new UserError('FILE_NOT_FOUND', `${label} has no snapshot "${name}"`, {
    hint: `holdfast snapshot create ${label} --name ${name} makes one`,
  });
}

function assertSizeOfRange(onOverflow: string, containerBytes: number | null): void {
  if (onOverflow !== 'grow' && containerBytes === null) return;
  throw new UserError('USAGE', 'a container that is a range of the volume is as large as the range', {
    hint: 'Leave --container-size out, and --on-overflow grow.',
  });
}

function sizeOfGrowing(): UserError {
  return new UserError('USAGE', 'a container that grows is as large as it has to be: it has no size', {
    hint: 'Leave --container-size out; or say what happens when it is full: --on-overflow drop, throttle or fail.',
  });
}

function forNobody(label: string): UserError {
  return new UserError('USAGE', `${label}: a snapshot in memory is gone when this command ends`, {
    hint: 'Serve the volume (holdfast serve), or keep it in a file.',
  });
}

/** Writes that a cache has answered cannot fail any more but by the next flush, which is final to who asked for it. */
function answeredAlready(label: string): UserError {
  return new UserError(
    'UNSUPPORTED',
    `${label}: its writes are answered by a cache before they meet the container`,
    { hint: '--on-overflow drop gives the snapshot up instead; grow has it never full.' },
  );
}
