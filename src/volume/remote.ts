/**
 * Images that are no files here: exports of NBD servers, named by their URI wherever an image is named. They are opened
 * as any other image (open-image.ts), so that whatever stands between images and their users sees them too.
 *
 * What a file has and they have not: a lock (a server lets others in as it likes), a size that can be chosen, and a
 * name that can be looked up without connecting.
 */
import { resolve } from 'node:path';
import type { BlockDevice } from '../device/contract.js';
import { openElsewhere } from '../device/open-image.js';
import { UserError } from '../errors.js';
import { isNbdUri } from '../nbd/client/uri.js';

export function isRemote(image: string): boolean {
  return isNbdUri(image);
}

/** A name that means the same in any directory: who serves a volume may be in another one than who asks. */
export function absoluteImage(image: string): string {
  return isRemote(image) ? image : resolve(image);
}

openElsewhere({
  isName: isNbdUri,
  async open(uri, { readOnly, create }): Promise<BlockDevice> {
    if (create !== undefined) {
      throw new UserError('UNSUPPORTED', `${uri}: an export is made by its server, not here`);
    }
    const { NbdDevice } = await import('../nbd/client/nbd-device.js');
    return NbdDevice.open(uri, { readOnly });
  },
});
