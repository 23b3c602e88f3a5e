/** Which images are not opened as volumes. */
import { UserError } from '../../errors.js';
import { marksOf } from './secondary/image-place.js';

/** Of the details of what refuses one: its server may do it. */
export const IS_SECONDARY = 'secondary';

/** A secondary is its primary's to write, until it is promoted. What is read of it is as its image is. */
export async function assertNoSecondary(image: string, readOnly: boolean): Promise<void> {
  if (readOnly) return;
  const marks = await marksOf(image);
  if (marks === null || marks.state === 'promoted') return;
  throw new UserError('REFUSED', `${image} is the secondary of a volume: only its primary writes to it`, {
    hint: 'holdfast replica promote makes it a volume of its own; reading it is allowed; holdfast serve --secondary offers it to its primary, and lets it have replicas of its own.',
    details: { image, reason: IS_SECONDARY },
  });
}
