/** Which rows were touched, and what they hold, against the geometry's own answer for each sector. */
import { expect, it } from 'vitest';
import { Recorder } from '../../../src/crash/recorder.js';
import { MemoryDevice } from '../../../src/device/memory.js';
import { RangeSet } from '../../../src/device/range-set.js';
import { TouchedRows } from '../../../src/lab/volume/touched-rows.js';
import { Geometry } from '../../../src/raid/geometry.js';
import { withSeed } from '../../support/devices/seeded-random.js';

const ROW_BYTES = 4096;
const DATA_OFFSET = 8192;

it('every byte of a row that was written to is among them, and nothing else', async () => {
  await withSeed(async (random) => {
    for (let round = 0; round < 40; round++) {
      const raidDisks = random.between(3, 5);
      const chunkBytes = random.pick([4096, 16384]);
      const memberSizeBytes = chunkBytes * random.between(1, 6);
      const geometry = new Geometry({ layout: random.below(4), chunkBytes, raidDisks, memberSizeBytes });
      const recorder = new Recorder();
      const devices = Array.from({ length: raidDisks + 1 }, (_, at) =>
        recorder.record(new MemoryDevice(DATA_OFFSET + memberSizeBytes), { identity: `${at}` }),
      );
      // The last device is no member: where its data would begin is not known.
      const touched = new TouchedRows(
        new Map(devices.slice(0, -1).map((_, at) => [at, DATA_OFFSET])),
        geometry,
      );
      const rows = new Set<number>();
      for (let write = random.below(4); write > 0; write--) {
        const device = random.below(devices.length);
        const offset = 512 * random.below(devices[0]!.size / 512);
        const length = Math.min(devices[0]!.size - offset, 512 * random.between(1, 12));
        await devices[device]!.write(offset, random.bytes(length));
        if (device === raidDisks) continue;
        for (let at = offset; at < offset + length; at += 512)
          if (at >= DATA_OFFSET) rows.add(Math.floor((at - DATA_OFFSET) / ROW_BYTES));
      }
      for (const device of devices) await device.flush();
      touched.add(recorder.trace);
      const found = new RangeSet(touched.rows);
      const data = new RangeSet(touched.data);
      for (let row = 0; row < memberSizeBytes / ROW_BYTES; row++)
        expect(found.overlaps(row * ROW_BYTES, (row + 1) * ROW_BYTES)).toBe(rows.has(row));
      for (let at = 0; at < geometry.arraySizeBytes; at += 512) {
        const [piece] = geometry.pieces(at, 512);
        expect(data.covers(at, at + 512)).toBe(rows.has(Math.floor(piece!.offsetInData / ROW_BYTES)));
        expect(data.overlaps(at, at + 512)).toBe(data.covers(at, at + 512));
      }
    }
  });
});
