/** A range of a volume as a container: where it may be. */
import { UserError } from '../../errors.js';
import { BLOCK_BYTES, type BlockRange } from '../../replication/blocks.js';
import type { Volume } from '../model.js';

/** Throws USAGE where it is not in whole blocks within the volume. */
export function blocksOfContainer(
  { device, label }: Pick<Volume, 'device' | 'label'>,
  { offset, length }: { readonly offset: number; readonly length: number },
): BlockRange {
  const isWhole = offset % BLOCK_BYTES === 0 && length % BLOCK_BYTES === 0;
  if (isWhole && length > 0 && offset >= 0 && offset + length <= device.size)
    return { from: offset / BLOCK_BYTES, count: length / BLOCK_BYTES };
  throw new UserError(
    'USAGE',
    `${label}: a container of ${length} bytes at offset ${offset} is not in whole blocks of ${BLOCK_BYTES} bytes within its ${device.size}`,
  );
}
