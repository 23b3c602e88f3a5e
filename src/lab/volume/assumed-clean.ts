/**
 * A member as it is where nobody keeps a record of dirty stripes, and its array is started all the same: its superblock says that all parity
 * is right. So `mdadm --assemble --force` leaves it (and the kernel with start_dirty_degraded) when the power went and a member is gone. What
 * the dirty-stripe record had to say is void with that, as after every write of a superblock by somebody else.
 */
import type { BlockDevice } from '../../device/contract.js';
import { examineImage } from '../../raid/md/examine.js';
import { changeSuperblock, superblockBytes } from '../../raid/md/superblock.js';

export async function assumeClean(member: BlockDevice): Promise<void> {
  const { superblocks } = await examineImage(member);
  for (const superblock of superblocks) {
    if (superblock.resyncOffset === null) continue;
    const clean = changeSuperblock(superblock, { resyncOffset: null });
    await member.write(clean.superOffset, superblockBytes(clean));
  }
}
