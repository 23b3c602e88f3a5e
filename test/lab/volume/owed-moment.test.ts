/** Whether what disks hold together is a state of one moment: beside a search through all moments, and with words for why not. */
import { expect, it } from 'vitest';
import { SeededRandom } from '../../../src/crash/seeded-random.js';
import type { Operation } from '../../../src/crash/trace.js';
import { UNREADABLE } from '../../../src/lab/volume/disk-reading.js';
import { OwedDisk } from '../../../src/lab/volume/owed.js';
import { noMoment } from '../../../src/lab/volume/owed-moment.js';
import { SECTOR, Told } from '../../support/lab/told-requests.js';
import { seeded } from '../../support/seed.js';

const { seed = 1 } = seeded();
const SECTORS = 3;

/** A few writes, trims and flushes, some under way together. */
function randomRequests(random: SeededRandom): Told {
  const told = new Told();
  const open: Operation[] = [];
  for (let step = 0; step < 12; step++) {
    if (open.length > 0 && random.below(2) === 0) {
      const [request] = open.splice(random.below(open.length), 1);
      told.answer(request!);
    } else if (random.below(4) === 0) open.push(told.ask('flush'));
    else {
      const first = random.below(SECTORS);
      const count = 1 + random.below(SECTORS - first);
      const kind = random.below(5) === 0 ? 'trim' : 'write';
      const fua = random.below(4) === 0;
      open.push(told.ask(kind, first * SECTOR, count * SECTOR, 1 + random.below(4), fua));
    }
  }
  return told;
}

it(`is so where one moment allows all that the sectors hold, seed ${seed}`, () => {
  const random = new SeededRandom(seed);
  let [moments, mixtures] = [0, 0];
  for (let round = 0; round < 400; round++) {
    const { requests } = randomRequests(random);
    const owed = new OwedDisk(requests, 0, () => new Uint8Array(SECTOR));
    const told = random.below(requests.length + 1);
    const contents = Int32Array.from(owed.sectors, ({ versions }) => {
      if (random.below(8) === 0) return UNREADABLE;
      return versions[random.below(versions.length)]!.contents[0]!;
    });
    const isMoment = Array.from({ length: told + 1 }, (_, moment) => moment).some((moment) =>
      contents.every((content, at) => content === UNREADABLE || owed.allows(at, content, moment)),
    );
    const why = noMoment([{ name: 'disk', owed, contents }], told);
    expect({ round, isMoment: why === null }).toEqual({ round, isMoment });
    if (isMoment) moments += 1;
    else mixtures += 1;
  }
  // Both were seen.
  expect(Math.min(moments, mixtures)).toBeGreaterThan(40);
});

it('of two disks it is one moment, and why it is none is told', () => {
  const told = new Told();
  told.write(1, { sector: 8 });
  told.done('flush');
  told.write(2, { sector: 9 });
  const all = told.done('flush');
  const owed = new OwedDisk(told.requests, 0, () => new Uint8Array(SECTOR));
  const held = (name: string, contents: number[]) => ({ name, owed, contents: Int32Array.from(contents) });
  expect(noMoment([held('a', [0, 0]), held('b', [0, 0])], all)).toBeNull();
  expect(noMoment([held('a', [1, 1]), held('b', [1, 1])], all)).toBeNull();
  expect(noMoment([held('a', [1, 0]), held('b', [0, 0])], all)).toBeNull();
  expect(noMoment([held('a', [0, 0]), held('b', [1, 1])], all)).toBe(
    'sector 9 of b (offset 4608) is as it was later than sector 8 of a (offset 4096), and at no moment was that so',
  );
  expect(noMoment([held('a', [1, 1])], 2)).toBe(
    'sector 9 of a (offset 4608) is nothing that it may have been until then',
  );
});
