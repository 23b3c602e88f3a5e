/**
 * What must hold for whatever a power cut leaves of an array (docs/crash-model.md): checks that throw where it does
 * not, and the recovery that the product does.
 */
import type { BlockDevice } from '../../src/device/contract.js';
import type { MemoryDevice } from '../../src/device/memory.js';
import { RangeSet } from '../../src/device/range-set.js';
import { judgeDevices } from '../../src/lab/self/raid/arrays.js';
import type { RaidArray } from '../../src/raid/array.js';
import { bytesInDoubt } from '../../src/raid/doubt.js';
import { WriteIntentBitmap } from '../../src/raid/md/bitmap.js';
import { type BitmapCopy, readBitmapCopy } from '../../src/raid/md/bitmap-copy.js';
import { recoverArray } from '../../src/volume/recovery.js';
import { abandonArrays, mismatches, openDevices, readAll } from './arrays.js';
import type { SectorHistory } from './sector-history.js';

const SECTOR_BYTES = 512;
const ROW_BYTES = 4096;

/** What the cut left looked like: so that a test sees that its cuts were of every kind. */
export type Outcome = 'clean' | 'dirty' | 'degraded' | 'dirty-degraded' | 'rebuilding';

/** Makes a complete array right, as the product does before it writes one. */
export async function recover(devices: readonly BlockDevice[]): Promise<Uint8Array> {
  const { array } = await openDevices(devices);
  await recoverArray(array, await judgeDevices(devices), { warn: () => undefined });
  const content = await readAll(array);
  await array.close();
  return content;
}

export function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

/** Invariants 1 and 2, of an array that was complete all the time. */
export async function checkComplete(left: readonly MemoryDevice[], history: SectorHistory): Promise<Outcome> {
  const isDirty = (await judgeDevices(left)).set!.resyncOffset !== null;
  const wrong = await mismatches(left);
  if (!isDirty) must(wrong.length === 0, 'it is clean, and its parity is wrong');
  await checkBitmaps(left, wrong);
  await checkNamed(left, wrong);
  await checkMissing(left, history);
  const content = await recover(left);
  history.check(content);
  must((await mismatches(left)).length === 0, 'it was recovered, and its parity is wrong');
  const serving = (await judgeDevices(left)).slots.map((slot) => slot.device!);
  for (const away of serving) {
    const { array } = await openDevices(
      serving.filter((device) => device !== away),
      true,
    );
    must(Buffer.compare(await readAll(array), content) === 0, `without ${away.name} it reads otherwise`);
    abandonArrays();
  }
  return isDirty ? 'dirty' : 'clean';
}

/** Invariant 2: what the array counts as suspect before it is recovered has every row whose parity is wrong in it. */
async function checkNamed(left: readonly MemoryDevice[], wrongRows: readonly number[]): Promise<void> {
  const { array } = await openDevices(left, true);
  for (const row of wrongRows) {
    const isNamed = array.core.suspect.overlaps(row * ROW_BYTES, (row + 1) * ROW_BYTES);
    must(isNamed, `parity of row ${row} is wrong, and nothing names it`);
  }
  abandonArrays();
}

/** Invariant 3: with any one member away before recovery, what is in doubt is refused, and all else is what it may be. */
async function checkMissing(left: readonly MemoryDevice[], history: SectorHistory): Promise<void> {
  const serving = (await judgeDevices(left)).slots.map((slot) => slot.device!);
  for (const away of serving) {
    const others = serving.filter((device) => device !== away);
    const { array } = await openDevices(others, true);
    if (array.record.kind === 'none' && !array.core.suspect.isEmpty) continue;
    const { verdict, reason } = array.record.chosen;
    must(
      array.core.suspect.isEmpty || array.core.isDoubtKnown,
      `without ${away.name} the record is ${verdict}: ${reason}`,
    );
    const doubt = new RangeSet(bytesInDoubt(array.core));
    history.check(await readBut(array, doubt), (offset) => !doubt.overlaps(offset, offset + SECTOR_BYTES));
    abandonArrays();
  }
}

/** The kernel knows nothing of the record: every copy of the bitmap names the rows (of 4 KiB) whose parity is wrong. */
async function checkBitmaps(left: readonly MemoryDevice[], wrongRows: readonly number[]): Promise<void> {
  const { slots, freshest, set } = await judgeDevices(left);
  const { events } = freshest!;
  const { memberSizeBytes } = set!;
  for (const { device, superblock, state } of slots) {
    if (superblock?.bitmapOffset == null || device === null || state !== 'in-sync') continue;
    const copy = await readBitmapCopy(device, superblock);
    must(copy !== null && !('reason' in copy), `${device.name}: its bitmap cannot be used`);
    const bitmap = new WriteIntentBitmap([copy as BitmapCopy], { events, memberSizeBytes });
    const named = new RangeSet(bitmap.dirtyRanges());
    for (const row of wrongRows) {
      must(named.overlaps(row * ROW_BYTES, (row + 1) * ROW_BYTES), `${device.name}: no bit names row ${row}`);
    }
  }
}

/** All that is not in doubt; and that what is in doubt cannot be read. */
export async function readBut(array: RaidArray, doubt: RangeSet): Promise<Uint8Array> {
  const content = new Uint8Array(array.size);
  for (let at = 0; at < array.size; at += SECTOR_BYTES) {
    const sector = content.subarray(at, at + SECTOR_BYTES);
    const isRead = await array.read(at, sector).then(
      () => true,
      () => false,
    );
    must(isRead !== doubt.overlaps(at, at + SECTOR_BYTES), `sector at ${at}: ${isRead ? 'read' : 'refused'}`);
  }
  return content;
}
