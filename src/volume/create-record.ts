/**
 * The file that a new volume keeps its dirty-stripe record in: made at its full size, with a first record in it that
 * is bound to the volume. So `status` shows it before anything was written, and a file that is lost later is missed.
 */
import type { BlockDevice } from '../device/contract.js';
import { examineImage } from '../raid/md/examine.js';
import type { Superblock } from '../raid/md/model.js';
import { setUuidBytes } from '../raid/md/uuid.js';
import {
  encodeRecord,
  fileBytes,
  filePlaces,
  RECORD_COPIES,
  type RecordContent,
  superblockHash,
} from '../raid/record/index.js';
import type { Part } from './create-part.js';

export function recordPart(path: string, shape: Pick<Superblock, 'memberSizeBytes' | 'chunkBytes'>): Part {
  return { path, sizeBytes: fileBytes(shape, RECORD_COPIES), flag: '--record' };
}

/** A clean record that knows the members' superblocks as they are, one a slot. Durable when it returns. */
export async function formatRecord(file: BlockDevice, members: readonly BlockDevice[]): Promise<void> {
  const examined = await Promise.all(members.map((member) => examineImage(member)));
  const superblocks = examined.map((each) => each.superblocks[0]!);
  const record: RecordContent = {
    generation: 1n,
    follows: 0n,
    isClean: true,
    superblocks: superblocks.map(({ raw }, slot) => ({ slot, hash: superblockHash(raw) })),
    dirty: [],
    inDoubt: [],
  };
  const bytes = encodeRecord(record, setUuidBytes(superblocks[0]!));
  for (const { offset } of filePlaces(file, superblocks[0]!, RECORD_COPIES)) await file.write(offset, bytes);
  // Of a file that has grown the length too.
  await file.flush();
}
