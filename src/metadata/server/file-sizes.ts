/** The size of a file, which is that of the newest transaction that is done. */
import type { RequestOf } from '../messages.js';
import type { State } from './state.js';

/** The sizes of a transaction that is done; a younger one that was done before has set its own. */
export async function setSizes(
  state: State,
  transaction: number,
  sizes: RequestOf<'Harden_Extent_Flags'>['sizes'],
): Promise<void> {
  for (const { file, sizeBytes } of sizes) {
    const inode = await state.inode(file);
    if (inode === null || inode.sizeTransaction > transaction) continue;
    state.putInode(file, { ...inode, sizeBytes, sizeTransaction: transaction });
  }
}
