/** A range of a volume is to become a container of a snapshot: nobody may use it, and nobody may begin to meanwhile. */
import { UserError } from '../../errors.js';
import { inUse } from '../../snapshot/backup/backup.js';
import { blocksOfContainer } from '../backup/container-range.js';
import { usedBlocks } from '../backup/used-blocks.js';
import type { Volume } from '../model.js';
import { placeOfRange, type VolumeRange } from './places.js';
import { RangeWatch } from './range-watch.js';

/**
 * `make` has the place of its layer, and takes it. Throws USAGE where it is not in whole blocks within the volume; UNSUPPORTED in a
 * volume of files, which may use any of it later; IN_USE where a backup runs; REFUSED where it is in use, by a container too. The
 * volume's snapshots are begun.
 */
export async function overRange<R>(
  volume: Volume,
  range: VolumeRange,
  make: (place: string) => Promise<R>,
): Promise<R> {
  const { label, device, role, backups } = volume;
  const [moments, ranges] = [volume.moments!, volume.snapshots.ranges!];
  blocksOfContainer(volume, range);
  if (role === 'volume')
    throw new UserError('UNSUPPORTED', `${label} has files: they may need any part of it`, {
      hint: 'Keep the snapshot in a file: --container FILE.',
    });
  if (backups.status() !== null)
    throw new UserError('IN_USE', `${label}: a backup runs, whose container may be there`, {
      hint: 'Wait for its end (holdfast backup status), or holdfast backup cancel it.',
    });
  assertNotTaken(volume, range);
  const watch = new RangeWatch(range, device.size);
  ranges.enter(watch);
  try {
    await moments.choose(watch);
    const used = await usedBlocks(volume, device, { allBlocks: false, warn: () => {} });
    const run = used.runsWithin(watch.blocks).next().value;
    if (run != null) throw inUse(label, run);
    return await make(placeOfRange(range));
  } finally {
    moments.gate.remove(watch);
    ranges.leave(watch);
  }
}

/** Throws REFUSED where a snapshot has its container, or is about to have it. */
export function assertNotTaken({ label, snapshots }: Volume, range: VolumeRange): void {
  if (snapshots.ranges?.isTaken(range) !== true) return;
  const { offset, length } = range;
  throw new UserError(
    'REFUSED',
    `${label}: in the ${length} bytes at offset ${offset} a snapshot has its container`,
    {
      hint: 'Name another range, or delete that snapshot: holdfast snapshot list.',
      details: { image: label, offsetBytes: offset },
    },
  );
}
