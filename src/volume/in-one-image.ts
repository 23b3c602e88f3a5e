/** A moment of a volume, in a backup or a snapshot, is one of its bytes: images of its own beside it have none of it. */
import type { BlockDevice } from '../device/contract.js';
import { UserError } from '../errors.js';
import { findSuperblock } from '../extents/format/superblock-copies.js';
import type { Volume } from './model.js';

/** Throws UNSUPPORTED for a volume with a metadata or journal image of its own. `device`: its bytes, at whatever moment. */
export async function assertInOneImage(
  { role, label }: Pick<Volume, 'role' | 'label'>,
  device: BlockDevice,
): Promise<void> {
  const found = role === 'volume' ? await findSuperblock(device) : null;
  if (found === null) return;
  const { metadataImage, journalImage } = found.superblock;
  if (metadataImage === null && journalImage === null) return;
  throw new UserError(
    'UNSUPPORTED',
    `${label} has a metadata or journal image of its own: one image is not all of it`,
    {
      hint: 'holdfast file export takes single files out of it, holdfast file snapshot keeps one as it is',
      details: { image: label },
    },
  );
}
