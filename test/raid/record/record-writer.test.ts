/** What makes generations durable: which places and slots they go to, who shares one, and what a failure leaves. */
import { describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../../src/device/contract.js';
import { MemoryDevice } from '../../../src/device/memory.js';
import { type Range, RangeSet } from '../../../src/device/range-set.js';
import { UserError } from '../../../src/errors.js';
import type { RecordContent } from '../../../src/raid/record/codec.js';
import { type FoundRecord, goodRecords, readPlace } from '../../../src/raid/record/find.js';
import { COPIES, RecordWriter, type WriterPlace } from '../../../src/raid/record/record-writer.js';
import { FaultyDevice } from '../../support/devices/faulty-device.js';
import { HeldDevice } from '../../support/devices/held-device.js';
import { withSeed } from '../../support/devices/seeded-random.js';

const UUID = new Uint8Array(16).fill(7);
const SLOT_BYTES = 8192;
const one = (stripe: number): Range => ({ start: stripe, end: stripe + 1 });

interface Bench {
  readonly writer: RecordWriter;
  readonly bases: readonly MemoryDevice[];
  readonly devices: readonly FaultyDevice[];
  /** What the next record has to list. */
  readonly dirty: RangeSet;
  /** Places that have failed, in order. */
  readonly failed: number[];
  readonly composed: number[];
}

interface BenchOptions {
  readonly places?: number;
  readonly found?: (places: readonly WriterPlace[]) => Promise<FoundRecord[]>;
  readonly bases?: readonly MemoryDevice[];
  readonly wrap?: (device: BlockDevice) => BlockDevice;
  readonly gather?: () => Promise<void> | null;
}

async function benchOf({
  places: count = 4,
  found,
  bases,
  wrap,
  gather = () => null,
}: BenchOptions = {}): Promise<Bench> {
  const memory =
    bases ?? Array.from({ length: count }, (_, index) => new MemoryDevice(65536, { name: `place-${index}` }));
  const devices = memory.map((base) => new FaultyDevice(wrap?.(base) ?? base));
  const failed: number[] = [];
  const places = devices.map(
    (device, index): WriterPlace => ({
      device,
      offset: 4096,
      slotBytes: SLOT_BYTES,
      isUsable: () => !failed.includes(index),
      failed: (error) => {
        if ((error as UserError).code === 'NO_SPACE') throw error;
        failed.push(index);
      },
    }),
  );
  const dirty = new RangeSet();
  const composed: number[] = [];
  const writer = new RecordWriter({
    setUuid: UUID,
    places,
    found: (await found?.(places)) ?? [],
    highest: 0n,
    durable: [],
    follows: 0n,
    gather,
    compose: (maxEntries) => {
      composed.push(maxEntries(3));
      return { isClean: false, superblocks: [], dirty: [...dirty.list()], inDoubt: [] };
    },
    assertUsable: () => {
      if (failed.length >= places.length - 1) throw new UserError('NOT_ASSEMBLED', 'too few places are left');
    },
  });
  return { writer, bases: memory, devices, dirty, failed, composed };
}

/** Of which each place can be held at its door. */
async function heldBench(): Promise<Bench & { held: HeldDevice[] }> {
  const held: HeldDevice[] = [];
  const wrap = (device: BlockDevice) => {
    const each = new HeldDevice(device);
    held.push(each);
    return each;
  };
  return { ...(await benchOf({ wrap })), held };
}

interface Copy {
  readonly place: number;
  readonly slot: number;
  readonly record: RecordContent;
}

async function copiesOn(bases: readonly BlockDevice[]): Promise<Copy[]> {
  const all = await Promise.all(
    bases.map(async (device, place) => {
      const found = await readPlace({ device, offset: 4096, slotBytes: SLOT_BYTES }, UUID);
      return goodRecords(found).map(({ slot, record }) => ({ place, slot, record }));
    }),
  );
  return all.flat();
}

const copiesOf = (copies: readonly Copy[], generation: bigint) =>
  copies.filter(({ record }) => record.generation === generation);

describe('a generation', () => {
  it('goes to two places, in turn over all of them', async () => {
    for (const places of [2, 3, 4, 5]) {
      const { writer, devices } = await benchOf({ places });
      const rounds = places * 4;
      for (let count = 0; count < rounds; count++) await writer.write();
      for (const { counts } of devices) expect(counts.fuaWrites).toBe((rounds * COPIES) / places);
    }
  });

  it('never takes the slot that holds the newest of its place: of each, two whole copies stay until the next has two', async () => {
    await withSeed(async (random) => {
      for (const places of [2, 3, 4]) {
        const { writer, bases, devices } = await benchOf({ places });
        await writer.write();
        for (let generation = 2n; generation < 14n; generation += 2n) {
          // Cut short wherever it goes.
          const bytesBefore = 512 * random.below(8);
          const rule = { operations: ['write'], fua: true, code: 'NO_SPACE', bytesBefore } as const;
          const clear = devices.map((device) => device.addRule(rule));
          await expect(writer.write()).rejects.toMatchObject({ code: 'NO_SPACE' });
          for (const each of clear) each();
          expect(copiesOf(await copiesOn(bases), generation - 1n)).toHaveLength(2);
          await writer.write();
          expect(copiesOf(await copiesOn(bases), generation + 1n)).toHaveLength(2);
        }
      }
    });
  });

  it('goes on from what lies in the places already: the newest there is not overwritten', async () => {
    const first = await benchOf({ places: 2 });
    for (let count = 0; count < 3; count++) await first.writer.write();
    const before = copiesOf(await copiesOn(first.bases), 3n);
    const uuidPlaces = async (places: readonly WriterPlace[]) =>
      (await Promise.all(places.map((place) => readPlace(place, UUID)))).flat();
    const second = await benchOf({ places: 2, bases: first.bases, found: uuidPlaces });
    await second.writer.write();
    const after = await copiesOn(first.bases);
    for (const { place, slot } of before) {
      expect(after.find((copy) => copy.place === place && copy.slot === slot)!.record.generation).toBe(3n);
    }
  });

  it('overwrites what is damaged, before what is good', async () => {
    const { writer, bases } = await benchOf({ places: 2 });
    await writer.write();
    await writer.write();
    const [torn] = copiesOf(await copiesOn(bases), 2n);
    const at = 4096 + torn!.slot * SLOT_BYTES;
    await bases[torn!.place]!.write(at + 512, new Uint8Array(512).fill(0xee));
    await bases[torn!.place]!.write(at, new Uint8Array(512).fill(0xee));
    const found = async (places: readonly WriterPlace[]) =>
      (await Promise.all(places.map((place) => readPlace(place, UUID)))).flat();
    const again = await benchOf({ places: 2, bases, found });
    await again.writer.write();
    const here = (await copiesOn(bases)).filter(({ place }) => place === torn!.place);
    expect(here.map(({ slot, record }) => [slot, record.generation]).sort()).toEqual(
      [
        [1 - torn!.slot, 1n],
        [torn!.slot, 1n],
      ].sort(),
    );
  });

  it('is shared by all who come while another is on its way', async () => {
    const { writer, dirty, held } = await heldBench();
    await Promise.all(held.map(() => writer.write()));
    const before = writer.generations;
    for (const each of held) each.hold('write');
    dirty.add(0, 1);
    const first = writer.list([one(0)]);
    const others = Array.from({ length: 64 }, (_, index) => {
      dirty.add(index + 1, index + 2);
      return writer.list([one(index + 1)]);
    });
    for (const each of held) each.release('write');
    await Promise.all([first, ...others]);
    expect(writer.generations - before).toBe(2);
    expect(writer.isListed([{ start: 0, end: 65 }])).toBe(true);
  });

  it('that waits for others lists all who come meanwhile, and none of them has one of their own', async () => {
    let goOn: () => void = () => undefined;
    const gather = () => new Promise<void>((resolve) => (goOn = resolve));
    const { writer, dirty, composed } = await benchOf({ gather });
    dirty.add(0, 1);
    const first = writer.list([one(0)]);
    dirty.add(1, 2);
    const second = writer.list([one(1)]);
    expect(composed).toHaveLength(0);
    goOn();
    await Promise.all([first, second]);
    expect(writer.generations).toBe(1);
    expect(writer.isListed([{ start: 0, end: 2 }])).toBe(true);
  });

  it('that is on its way and does not list a stripe any more makes who writes it wait, though the durable one does', async () => {
    const { writer, dirty, held } = await heldBench();
    dirty.add(0, 2);
    await writer.list([one(0), one(1)]);
    dirty.remove(1, 2);
    for (const each of held) each.hold('write');
    const leaving = writer.write();
    expect([writer.isListed([one(0)]), writer.isListed([one(1)])]).toEqual([true, false]);
    dirty.add(1, 2);
    const again = writer.list([one(1)]);
    for (const each of held) each.release('write');
    await Promise.all([leaving, again]);
    expect(writer.isListed([one(1)])).toBe(true);
    expect(writer.generations).toBe(3);
  });

  it('says how many entries fit into the smallest place', async () => {
    const { writer, composed } = await benchOf();
    writer.addPlace({
      device: new MemoryDevice(65536),
      offset: 0,
      slotBytes: 4096,
      isUsable: () => true,
      failed: () => undefined,
    });
    await writer.write();
    expect(composed).toEqual([(4096 - 512) / 16 - 3]);
  });

  it('is never longer than its slot: a record that would be is a fault of ours, and is not written', async () => {
    const { writer, bases, dirty } = await benchOf();
    for (let stripe = 0; stripe < 2000; stripe += 2) dirty.add(stripe, stripe + 1);
    await expect(writer.write()).rejects.toThrow(/no room/);
    expect(await copiesOn(bases)).toEqual([]);
    expect(writer.isListed([one(0)])).toBe(false);
  });
});

describe('a copy that fails', () => {
  it('goes to another place; the one that failed gets no more', async () => {
    const { writer, bases, devices, failed } = await benchOf();
    devices[1]!.addRule({ operations: ['write'], fua: true });
    for (let count = 0; count < 8; count++) await writer.write();
    expect(failed).toEqual([1]);
    expect(devices[1]!.counts.fuaWrites).toBe(1);
    for (const generation of [7n, 8n]) expect(copiesOf(await copiesOn(bases), generation)).toHaveLength(2);
  });

  it('beside too many others is an error', async () => {
    const { writer, devices } = await benchOf({ places: 3 });
    for (const device of devices.slice(1)) device.addRule({ operations: ['write'], fua: true });
    const outcomes = await Promise.allSettled([writer.write(), writer.write(), writer.write()]);
    expect(outcomes.some(({ status }) => status === 'rejected')).toBe(true);
    await expect(writer.write()).rejects.toMatchObject({ code: 'NOT_ASSEMBLED' });
  });
});

describe('a generation that could not be made durable', () => {
  it('leaves listed only what it and the one before both list, as either may be found', async () => {
    const { writer, devices, dirty } = await benchOf({ places: 2 });
    dirty.add(0, 10);
    await writer.write();
    dirty.remove(5, 10);
    dirty.add(20, 30);
    const clear = devices[1]!.addRule({ operations: ['write'], fua: true, code: 'NO_SPACE' });
    await expect(writer.write()).rejects.toMatchObject({ code: 'NO_SPACE' });
    clear();
    expect([0, 4, 5, 20].map((stripe) => writer.isListed([one(stripe)]))).toEqual([true, true, false, false]);
    await writer.list([one(20)]);
    expect(writer.isListed([{ start: 20, end: 30 }])).toBe(true);
  });

  it('is not what the next one follows', async () => {
    const { writer, bases, devices } = await benchOf({ places: 2 });
    await writer.write();
    const clear = devices[1]!.addRule({ operations: ['write'], fua: true, code: 'NO_SPACE' });
    await expect(writer.write()).rejects.toMatchObject({ code: 'NO_SPACE' });
    clear();
    await writer.write();
    const [newest] = copiesOf(await copiesOn(bases), 3n);
    expect(newest!.record.follows).toBe(1n);
  });

  it('for want of room is tried again whole: room is made anew, too', async () => {
    const { writer, devices, bases } = await benchOf({ places: 2 });
    const clear = devices.map((device) =>
      device.addRule({ operations: ['write'], fua: false, code: 'NO_SPACE' }),
    );
    await expect(writer.write()).rejects.toMatchObject({ code: 'NO_SPACE' });
    for (const each of clear) each();
    await writer.write();
    for (const base of bases) {
      const extents = await base.extents(4096, 2 * SLOT_BYTES);
      expect(extents.filter(({ kind }) => kind === 'hole')).toEqual([]);
    }
  });
});
