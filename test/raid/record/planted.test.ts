/**
 * A test of the tests: faults that a record of dirty stripes is prone to, planted one by one. Each must be found by the
 * same cuts that find nothing without it. (That equal images have to be judged by each cut's own obligations is
 * planted where states are explored, test/crash.)
 */
import { describe, expect, it } from 'vitest';
import { makeMembers } from '../../../src/lab/self/raid/arrays.js';
import { chooseRecord, goodRecords } from '../../../src/raid/record/find.js';
import { namedRows } from '../../../src/raid/record/open-record.js';
import { JoinedIntent } from '../../../src/raid/write-intent.js';
import { abandonArrays, mismatches, openDevices } from '../../support/arrays.js';
import { SeededRandom, withSeed } from '../../support/devices/seeded-random.js';
import { forgetAtOnce, recordInside, unflushedDuring, writeOneCopy } from '../../support/planted-faults.js';
import {
  complete,
  losing,
  type Moment,
  type Mutation,
  recovering,
  type Scenario,
  SHAPE,
} from '../../support/power-cut.js';

const MAX_ROUNDS = 1000;

interface Fault {
  readonly name: string;
  readonly scenario: Scenario;
  readonly moment?: Moment;
  readonly plant: Mutation;
}

const FAULTS: readonly Fault[] = [
  {
    name: "an entry leaves at its write's completion, not after a flush",
    scenario: complete,
    plant: forgetAtOnce,
  },
  {
    name: 'a generation has one copy',
    scenario: complete,
    plant: writeOneCopy,
  },
  {
    name: 'superblocks are marked clean before the flush',
    scenario: complete,
    moment: 'end',
    plant: (array) => unflushedDuring(array, 'deactivate'),
  },
  {
    name: 'a failed flush is tried again',
    scenario: losing,
    plant: ({ core }) => {
      for (const { device } of core.slotMembers()) {
        const flush = device.flush.bind(device);
        device.flush = () => flush().catch(() => flush());
      }
    },
  },
  {
    name: 'recovery clears entries before its parity is flushed',
    scenario: recovering,
    plant: (array) => {
      forgetAtOnce(array);
      unflushedDuring(array, 'checkpoint');
    },
  },
];

describe('it is found when', () => {
  it.each(FAULTS)('$name', { timeout: 300_000 }, async ({ scenario, moment, plant }) => {
    await withSeed(async (random) => {
      const cut = (seed: number, mutate?: Mutation): Promise<unknown> =>
        scenario({ random: new SeededRandom(seed), moment, mutate }).then(
          () => null,
          (error: unknown) => error,
        );
      for (let round = 1; round <= MAX_ROUNDS; round++) {
        const seed = random.below(2 ** 32);
        if ((await cut(seed, plant)) === null) continue;
        // Without it, the same cut of the same writes does no harm.
        expect(await cut(seed), `seed ${seed}`).toBeNull();
        return;
      }
      throw new Error(`${MAX_ROUNDS} cuts with it did no harm`);
    });
  });

  it.each([
    ['two slots', 'valid'],
    ['one slot', 'none'],
  ])('a member has %s, and the power goes amid its next record', async (slots, verdict) => {
    const devices = await makeMembers(SHAPE);
    const { array } = await openDevices(devices);
    const { newestSlot, places } = recordInside(array).writer;
    // Of four members two have the newest record and two the next; with two of them each has both.
    places.length = 2;
    const set = newestSlot.set.bind(newestSlot);
    if (slots === 'one slot') newestSlot.set = (place) => set(place, 1);
    for (const stripe of [1, 3, 5]) {
      await array.write(stripe * SHAPE.chunkBytes * (SHAPE.members - 1), new Uint8Array(512).fill(1));
    }
    abandonArrays();
    const found = goodRecords((await openDevices(devices, true)).array.record.found);
    const newest = found.reduce((max, { record }) => (record.generation > max ? record.generation : max), 0n);
    for (const { place, slot, record } of found) {
      if (record.generation !== newest) continue;
      // Its header has landed, and none of its lists: the header is all of it that is new.
      await place.device.write(place.offset + slot * place.slotBytes + 512, new Uint8Array(3584));
    }
    const { chosen } = (await openDevices(devices, true)).array.record;
    expect(chosen.verdict === 'valid').toBe(verdict === 'valid');
  });

  it('a record is not bound to the superblocks', async () => {
    const devices = await makeMembers(SHAPE);
    const ours = await openDevices(devices);
    await ours.array.write(0, new Uint8Array(512).fill(1));
    await ours.array.close();
    // Somebody who knows nothing of the record writes, and is cut between data and parity.
    const { array: theirs } = await openDevices(devices);
    const { followers } = theirs.metadata as unknown as { followers: unknown[] };
    followers.splice(0);
    Object.assign(theirs.metadata, { intent: new JoinedIntent([]) });
    await theirs.metadata.activate();
    const piece = [...theirs.core.geometry.pieces(5 * SHAPE.chunkBytes, 512)][0]!;
    await theirs.core.slots[piece.slot]!.member!.write(piece.offsetInData, new Uint8Array(512).fill(2));
    abandonArrays();

    const wrong = await mismatches(devices);
    expect(wrong).not.toEqual([]);
    const { array } = await openDevices(devices, true);
    const isNamed = (row: number) => array.core.suspect.overlaps(row * 4096, (row + 1) * 4096);
    expect(array.record.chosen.verdict).toBe('void');
    expect(wrong.every(isNamed)).toBe(true);
    // The planted fault: whose superblocks it was written for is not asked.
    const unbound = chooseRecord(array.record.found, []);
    expect(unbound.verdict).toBe('valid');
    expect(namedRows(array.core, unbound)).toEqual([]);
  });
});
