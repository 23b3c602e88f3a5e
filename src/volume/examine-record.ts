/** What lies where a member keeps its dirty-stripe records: for `holdfast examine`. */
import type { BlockDevice } from '../device/contract.js';
import type { Superblock } from '../raid/md/model.js';
import { ownRole } from '../raid/md/superblock.js';
import { setUuidBytes } from '../raid/md/uuid.js';
import {
  describeBits,
  isDamagedRecord,
  knowsSuperblock,
  memberPlace,
  readPlace,
} from '../raid/record/index.js';

export interface RecordReport {
  readonly offsetBytes: number;
  readonly generation: number | null;
  readonly clean: boolean | null;
  readonly dirtyStripes: number | null;
  readonly inDoubtBytes: number | null;
  /** Whether it was written for this member's superblock as it is: if not, somebody else has written since. */
  readonly matchesSuperblock: boolean | null;
  readonly problem: string | null;
}

/** One for each slot that something lies in; a member without room for records has none. */
export async function describeRecords(device: BlockDevice, superblock: Superblock): Promise<RecordReport[]> {
  const place = await memberPlace(device, superblock);
  if ('reason' in place) return [];
  const found = await readPlace(place, setUuidBytes(superblock));
  const role = ownRole(superblock);
  return found.flatMap(({ slot, record }): RecordReport[] => {
    const offsetBytes = place.offset + slot * place.slotBytes;
    if (record === null) return [];
    if (isDamagedRecord(record)) {
      const { reason, header } = record;
      const generation = header === null ? null : Number(header.generation);
      const unknown = { clean: null, dirtyStripes: null, inDoubtBytes: null, matchesSuperblock: null };
      return [{ offsetBytes, generation, ...unknown, problem: reason }];
    }
    return [
      {
        offsetBytes,
        generation: Number(record.generation),
        clean: record.isClean,
        dirtyStripes: total(record.dirty),
        inDoubtBytes: total(record.inDoubt),
        matchesSuperblock: typeof role === 'number' && knowsSuperblock(record, { slot: role, superblock }),
        problem: record.unknownRoCompat === undefined ? null : readOnlyBecause(record.unknownRoCompat),
      },
    ];
  });
}

function readOnlyBecause(unknownRoCompat: number): string {
  return `it has features that are not known here, ro_compat ${describeBits(unknownRoCompat)}: the volume can be read, and is not written`;
}

function total(ranges: readonly { start: number; end: number }[]): number {
  return ranges.reduce((sum, { start, end }) => sum + end - start, 0);
}
