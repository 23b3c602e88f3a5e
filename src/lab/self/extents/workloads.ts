/** What files on extents are used for while the power is cut: small, and each for a promise of its own. */
import type { SeededRandom } from '../../../crash/seeded-random.js';
import { FLAG_PLACES, type FlagPlace } from '../../../metadata/flag-places.js';
import type { ExtentsBench, ExtentsWorkload, WitnessedFile } from './recording.js';
import { BLOCK_BYTES, extentBytesOf, type Stand } from './stand.js';

const AREA_BLOCKS = 6;
const AREA_BYTES = AREA_BLOCKS * BLOCK_BYTES;

/** Anywhere in the area, of any length: blocks in part, whole extents, both. */
async function writeSome(file: WitnessedFile, area: number, random: SeededRandom): Promise<void> {
  const length = random.pick([700, BLOCK_BYTES, 2 * BLOCK_BYTES + 300, 4 * BLOCK_BYTES, AREA_BYTES]);
  const unit = random.chance(0.5) ? 1 : BLOCK_BYTES;
  const offset = Math.floor(random.below(AREA_BYTES - length + 1) / unit) * unit;
  if (random.chance(0.15)) await file.clear(area, offset, length);
  else await file.write(area, offset, random.bytes(length));
}

async function rounds(bench: ExtentsBench, file: WitnessedFile, count: number): Promise<void> {
  for (let round = 0; round < count; round++) {
    const area = bench.random.below(file.history.areas.length);
    await writeSome(file, area, bench.random);
    if (bench.random.chance(0.6)) await file.commit();
  }
}

/** Writers that go on and on, each in its area, and commits in their midst. */
async function together(bench: ExtentsBench, file: WitnessedFile, writes: number, commits: number) {
  const writer = async (area: number, random: SeededRandom) => {
    for (let count = 0; count < writes; count++) await writeSome(file, area, random);
  };
  const committer = async () => {
    for (let count = 0; count < commits; count++) await file.commit();
  };
  const areas = [...file.history.areas.keys()];
  await Promise.all([...areas.map((area) => writer(area, bench.random.fork())), committer(), committer()]);
}

const SHAPE = { areas: 2, areaBytes: AREA_BYTES };

/** Of two files, so that what becomes of one is seen not to harm the other. */
function keptWorkload(where: FlagPlace): ExtentsWorkload {
  return {
    name: `what was kept goes on when it is opened again, its flags in the place ${where}`,
    needsLocalFile: where === 'local',
    async run(bench) {
      const first = await bench.open({ where });
      const file = await bench.create(first, 'disk', SHAPE);
      await rounds(bench, file, 2);
      await file.commit();
      await writeSome(file, 0, bench.random);
      await file.keep();
      const other = await bench.create(first, 'other', { areas: 1, areaBytes: AREA_BYTES });
      await writeSome(other, 0, bench.random);
      await other.keep();
      await first.close();
      const second = await bench.open();
      const again = await bench.reopen(second, 'disk');
      await writeSome(again, 1, bench.random);
      await writeSome(again, 0, bench.random);
      await again.commit();
      const otherAgain = await bench.reopen(second, 'other');
      await otherAgain.commit();
      await second.close();
    },
  };
}

/** Those that can be run on it. */
export function workloadsOn({ hasLocalFile }: Stand): readonly ExtentsWorkload[] {
  return EXTENTS_WORKLOADS.filter(({ needsLocalFile = false }) => hasLocalFile || !needsLocalFile);
}

export const EXTENTS_WORKLOADS: readonly ExtentsWorkload[] = [
  {
    name: 'writes of all kinds, and commits between them',
    async run(bench) {
      const opened = await bench.open();
      const file = await bench.create(opened, 'disk', SHAPE);
      await rounds(bench, file, 8);
      await file.commit();
      await opened.close();
    },
  },
  {
    name: 'several writers while commits run',
    async run(bench) {
      const opened = await bench.open();
      const file = await bench.create(opened, 'disk', { areas: 3, areaBytes: AREA_BYTES });
      await together(bench, file, 4, 3);
      await file.commit();
      await opened.close();
    },
  },
  {
    name: 'what waits is written at once, and extents are associated when they are taken',
    async run(bench) {
      const opened = await bench.open({ writeBehindBytes: 0, associates: 'at-once' });
      const file = await bench.create(opened, 'disk', SHAPE);
      await together(bench, file, 3, 2);
      await file.commit();
      await opened.close();
    },
  },
  {
    name: 'one region again and again: blocks go home',
    async run({ random, open, create }) {
      const opened = await open();
      const file = await create(opened, 'disk', { areas: 1, areaBytes: AREA_BYTES });
      await file.write(0, 0, random.bytes(AREA_BYTES));
      await file.commit();
      for (let round = 0; round < 5; round++) {
        await file.write(0, random.below(2) * BLOCK_BYTES, random.bytes(BLOCK_BYTES));
        await file.commit();
      }
      await opened.close();
    },
  },
  {
    name: 'snapshots: what is shared is never written home',
    async run(bench) {
      const opened = await bench.open();
      const file = await bench.create(opened, 'disk', SHAPE);
      await rounds(bench, file, 2);
      await file.commit();
      await bench.snapshot(opened, 'disk', 'first');
      await rounds(bench, file, 3);
      await file.commit();
      await bench.snapshot(opened, 'disk', 'second');
      await rounds(bench, file, 2);
      await file.commit();
      await bench.remove(opened, 'first');
      await file.commit();
      await opened.close();
    },
  },
  {
    name: 'the journal is full: what was acknowledged is committed early',
    async run(bench, stand) {
      const opened = await bench.open();
      // Five eighths of the pool are data: what is left has room for the journal of one area, not of two.
      const areaBytes = Math.floor((stand.extents * 5) / 8 / 3) * extentBytesOf(stand);
      const file = await bench.create(opened, 'disk', { areas: 3, areaBytes, commitsEarly: true });
      for (let round = 0; round < 3; round++) {
        for (const area of [0, 1, 2]) await file.write(area, 0, bench.random.bytes(areaBytes));
        await file.commit();
      }
      if (file.file.statistics.earlyCommits === 0) throw new Error('the journal was never full');
      await opened.close();
    },
  },
  ...FLAG_PLACES.map((where) => keptWorkload(where)),
  {
    name: 'files come and go',
    async run(bench) {
      const opened = await bench.open();
      const first = await bench.create(opened, 'first', SHAPE);
      await rounds(bench, first, 2);
      await first.commit();
      await first.file.close();
      const second = await bench.create(opened, 'second', SHAPE);
      await Promise.all([rounds(bench, second, 3), bench.remove(opened, 'first')]);
      await second.commit();
      await opened.close();
    },
  },
];
