/**
 * Zeroes over an array. Rows that are zero in every data chunk have zero parity, so whole stripes are zeroed
 * on every member at once, which makes holes of them where the filesystem below has holes. What is left at
 * the ends is written like any other data.
 */
import type { WriteOptions } from '../device/contract.js';
import type { ArrayActivity } from './activity.js';
import { type ArrayCore, isMemberFault } from './core.js';
import type { Faults } from './faults.js';
import type { ArrayMetadata } from './metadata.js';
import type { TransferFailure } from './transfers.js';
import type { ArrayWriter } from './writer.js';

/** Stripes that are zeroed under one taking of locks. */
const MAX_ROWS_BYTES = 64 * 1024 * 1024;
const ZEROES = new Uint8Array(1024 * 1024);

/** Without a writer the ends are left as they are (trim). */
export async function zeroStripes(
  core: ArrayCore,
  metadata: ArrayMetadata,
  activity: ArrayActivity,
  faults: Faults,
  writer: ArrayWriter | null,
  offset: number,
  length: number,
  options: WriteOptions,
): Promise<void> {
  const { stripeDataBytes, chunkBytes } = core.geometry;
  const end = offset + length;
  const first = Math.ceil(offset / stripeDataBytes);
  const last = Math.max(first, Math.floor(end / stripeDataBytes));
  if (first === last) {
    if (writer !== null) await writeZeroes(writer, offset, end, options);
    return;
  }
  core.assertUsable();
  for (let row = first * chunkBytes; row < last * chunkBytes; ) {
    const rows = Math.min(last * chunkBytes - row, Math.max(chunkBytes, MAX_ROWS_BYTES));
    await zeroRows(core, metadata, activity, faults, row, rows);
    row += rows;
  }
  if (writer !== null) {
    await writeZeroes(writer, offset, first * stripeDataBytes, options);
    await writeZeroes(writer, last * stripeDataBytes, end, options);
  }
  if (options.fua === true) await metadata.flushMembers();
}

async function writeZeroes(
  writer: ArrayWriter,
  start: number,
  end: number,
  options: WriteOptions,
): Promise<void> {
  for (let at = start; at < end; at += ZEROES.length) {
    await writer.write(
      [{ offset: at, from: ZEROES.subarray(0, Math.min(ZEROES.length, end - at)) }],
      options,
    );
  }
}

async function zeroRows(
  core: ArrayCore,
  metadata: ArrayMetadata,
  activity: ArrayActivity,
  faults: Faults,
  start: number,
  length: number,
): Promise<void> {
  const windows = core.windowsOf(start, start + length);
  const rows = [{ start, end: start + length }];
  await core.locks.acquire(windows, 'exclusive');
  try {
    const ticket = activity.begin(rows);
    try {
      await activity.durable(ticket);
      activity.assertAllowed();
      const members = core.slotMembers();
      const outcomes = await Promise.allSettled(members.map((member) => member.writeZeroes(start, length)));
      const failures: TransferFailure[] = [];
      outcomes.forEach((outcome, index) => {
        const member = members[index]!;
        if (outcome.status === 'rejected') failures.push({ member, start, length, error: outcome.reason });
        else metadata.heal(member, start, start + length);
      });
      // Who failed is out, and all others are zero.
      if (failures.every(({ error }) => isMemberFault(error))) core.suspect.remove(start, start + length);
      else core.suspect.add(start, start + length);
      await faults.settleWrites(failures);
    } finally {
      activity.end(ticket);
    }
  } finally {
    core.locks.release(windows);
  }
}
