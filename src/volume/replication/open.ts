/** How replication comes into the stack of a volume that is opened. */
import type { BatchDevice, BlockDevice } from '../../device/contract.js';
import { UserError } from '../../errors.js';
import type { Located } from '../locate.js';
import { findPrimaryPlaces } from './places.js';
import { marksOf } from './secondary/image-place.js';
import { VolumeReplicas } from './volume-replicas.js';

/** null: nothing of the volume is tracked. */
export async function openReplicas(
  located: Located,
  primary: BlockDevice | BatchDevice,
  warn: (message: string) => void,
): Promise<VolumeReplicas | null> {
  const places = await findPrimaryPlaces(located);
  return places === null ? null : VolumeReplicas.open(places, primary, warn);
}

/** A secondary is its primary's to write, until it is promoted. What is read of it is as its image is. */
export async function assertNoSecondary(image: string, readOnly: boolean): Promise<void> {
  if (readOnly) return;
  const marks = await marksOf(image);
  if (marks === null || marks.state === 'promoted') return;
  throw new UserError('REFUSED', `${image} is the secondary of a volume: only its primary writes to it`, {
    hint: 'holdfast replica promote makes it a volume of its own; reading it is allowed; holdfast serve --secondary offers it to its primary.',
    details: { image },
  });
}
