/**
 * What becomes of a member that fails a read or a write.
 *
 * Write: the member is faulty, and that is durable on all others before the write is answered; after that
 * nothing depends on what it failed to take. A full disk below a sparse image is another matter: the image is
 * as good as it was, so no member fails, the write does.
 *
 * Read: the sectors that could not be read count as bad from then on, the content is made from the others, and
 * an array that is open for writing writes it back and reads it again; a member that does not take it is
 * faulty (as md does, raid5.c raid5_end_read_request and R5_ReWrite). An array that is open for reading only
 * reads around it.
 */
import { type ArrayCore, describeCause, isMemberFault, isOurFault } from './core.js';
import { SECTOR_BYTES } from './md/model.js';
import type { ArrayMetadata } from './metadata.js';
import type { TransferFailure } from './transfers.js';

/** A failed read is narrowed down in steps of this, then to sectors. */
const NARROW_BYTES = 4096;

export class Faults {
  constructor(
    private readonly core: ArrayCore,
    private readonly metadata: ArrayMetadata,
  ) {}

  /**
   * Resolves when every member that failed is durably out, whoever found out: a write may have gone without a
   * member that failed to take its intent, or failed beside it. Throws NO_SPACE where that was the cause, and
   * NOT_ASSEMBLED where too few are left.
   */
  async settleWrites(failures: readonly TransferFailure[]): Promise<void> {
    for (const { member, error } of failures) if (isMemberFault(error)) this.core.fail(member, error);
    await this.metadata.recordFaults();
    const other = failures.find(({ error }) => !isMemberFault(error));
    if (other !== undefined) throw other.error;
  }

  /** Finds the sectors that cannot be read and counts them as bad, so that the next plan goes around them. */
  async settleReads(failures: readonly TransferFailure[]): Promise<void> {
    for (const failure of failures) {
      if (isOurFault(failure.error)) throw failure.error;
      if (failure.member.isFaulty) continue;
      const bad = await this.narrow(failure);
      for (const [start, end] of bad) failure.member.unreadable.add(start, end);
      const bytes = bad.reduce((sum, [start, end]) => sum + end - start, 0);
      this.core.warn(
        `${failure.member.image}: ${bytes} bytes cannot be read (first at offset ${failure.member.superblock.dataOffset + (bad[0]?.[0] ?? failure.start)}): ${describeCause(failure.error)}`,
      );
    }
  }

  /**
   * A run that failed may be megabytes of which one sector is bad. Where none is found it was passing, or
   * hangs on the length; all of it counts as bad then, so that the next plan is another one.
   */
  private async narrow(failure: TransferFailure): Promise<[number, number][]> {
    const { member, start, length } = failure;
    const scratch = new Uint8Array(NARROW_BYTES);
    const bad: [number, number][] = [];
    const probe = async (from: number, to: number): Promise<boolean> =>
      member.read(from, scratch.subarray(0, to - from)).then(
        () => true,
        (error: unknown) => {
          if (isOurFault(error)) throw error;
          return false;
        },
      );
    for (let at = start; at < start + length; at += NARROW_BYTES) {
      const end = Math.min(at + NARROW_BYTES, start + length);
      if (await probe(at, end)) continue;
      for (let sector = at; sector < end; sector += SECTOR_BYTES) {
        if (!(await probe(sector, sector + SECTOR_BYTES))) bad.push([sector, sector + SECTOR_BYTES]);
      }
    }
    return bad.length > 0 ? bad : [[start, start + length]];
  }
}
