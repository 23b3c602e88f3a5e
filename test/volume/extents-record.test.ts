/** The dirty-stripe record of RAID-5 under files: journal extents that come from anywhere are listed before they are written. */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { WriteBackCache } from '../../src/device/cache/index.js';
import type { BlockDevice } from '../../src/device/contract.js';
import { openFiles } from '../../src/volume/extents-store.js';
import { createVolume, openVolume, type Volume } from '../../src/volume/index.js';
import { closeInOrder } from '../../src/volume/stack.js';
import { Promptly } from '../support/devices/promptly.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const MIB = 1024 * 1024;
/** Long enough to pass by every buffer above the array. */
const EXTENT_BYTES = 256 * 1024;
const EXTENTS = 100;
const IN_A_COMMIT = 10;

const folder = await temporaryFolder();

/**
 * Generations that ten commits write, of ten extents each, which are written one after the other. The file lies in no order,
 * so what is spent, and becomes the journal, is in none.
 */
async function recordsOf(name: string, over: (volume: Volume) => BlockDevice): Promise<number> {
  const directory = join(folder, name);
  await createVolume({
    ...{ directory, members: 3, sizeBytes: 32 * MIB, chunkBytes: 16384, layout: 'left-symmetric' },
    // What metadata writes is not to be counted.
    extents: { metadata: `${directory}.metadata`, extentBytes: EXTENT_BYTES },
    force: false,
  });
  const warn = () => undefined;
  const volume = await openVolume([directory], { access: 'write', warn });
  const files = await openFiles({ ...volume, device: over(volume) }, warn);
  await files.store.files.create('disk', { sizeBytes: EXTENTS * EXTENT_BYTES });
  const file = await files.store.openFile('disk', { access: 'write' });
  const bytes = new Uint8Array(EXTENT_BYTES).fill(1);
  for (let at = 0; at < EXTENTS; at++) await file.write(((at * 37) % EXTENTS) * EXTENT_BYTES, bytes);
  await file.commit({ isComplete: true });
  // What was listed until now is forgotten.
  await volume.array!.activity.rest();
  const before = volume.array!.recordWrites!;
  for (let at = 0; at < EXTENTS; at++) {
    await file.write(at * EXTENT_BYTES, bytes);
    if (at % IN_A_COMMIT === IN_A_COMMIT - 1) await file.commit();
  }
  await files.store.settled();
  const records = volume.array!.recordWrites! - before;
  await closeInOrder([() => file.close(), () => files.close(), () => volume.close()]);
  return records;
}

it('a commit of ten extents writes some records, and not one for each extent', async () => {
  // The same stack, but nothing tells the array of what will be written.
  const untold = await recordsOf('untold', ({ device }) => new Promptly(device as WriteBackCache));
  const told = await recordsOf('told', ({ device }) => device);
  expect(untold).toBeGreaterThan(EXTENTS / 2);
  // Two for each time that something is told, which is not in every commit: those first written, and what is ahead.
  expect(told).toBeLessThan(3 * (EXTENTS / IN_A_COMMIT));
});
