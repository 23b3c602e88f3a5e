/** The explorer tells stores with a known bug from the same without it, and says how much it has seen. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { explore } from '../../src/crash/explorer.js';
import { contentsAt } from '../../src/crash/explorer-failure.js';
import { describeReport } from '../../src/crash/explorer-report.js';
import { PROFILES } from '../../src/crash/profiles.js';
import { StateDevice } from '../../src/crash/state-device.js';
import { SeenStates } from '../../src/crash/states-seen.js';
import type { BlockDevice } from '../../src/device/contract.js';
import { exploreToy, get, put, type Toy, toySubject } from '../support/crash/toys.js';

afterEach(() => vi.restoreAllMocks());

const VALUES = [1, 2, 3];

/** One sector that is written anew. */
function register(flushes: (value: number) => boolean): Toy {
  return {
    devices: 1,
    async work([device], acknowledged) {
      for (const value of VALUES) {
        await put(device!, 0, value);
        if (flushes(value)) await device!.flush();
        acknowledged(value);
      }
    },
    recover: () => Promise.resolve(),
    read: ([device]) => get(device!, 0),
  };
}

/** Data on one device, and on another which of it counts. */
function twoDevices(flushesData: boolean): Toy {
  return {
    devices: 2,
    async work([data, commit], acknowledged) {
      for (const value of VALUES) {
        await put(data!, value, value);
        if (flushesData) await data!.flush();
        await put(commit!, 0, value);
        await commit!.flush();
        await data!.flush();
        acknowledged(value);
      }
    },
    recover: () => Promise.resolve(),
    async read([data, commit]) {
      const last = await get(commit!, 0);
      return last === 0 || (await get(data!, last)) === last ? last : null;
    },
  };
}

/** A log of one entry of two sectors, which recovery copies home and clears. */
function redoLog(flushesHome: boolean): Toy {
  const home = async (device: BlockDevice, value: number): Promise<void> => {
    await Promise.all([put(device, 8, value), put(device, 16, value)]);
    if (flushesHome) await device.flush();
    await put(device, 0, 0, 2);
  };
  return {
    devices: 1,
    async work([device], acknowledged) {
      await put(device!, 0, 1, 2);
      await device!.flush();
      acknowledged(1);
    },
    async recover([device]) {
      const [first, second] = [await get(device!, 0), await get(device!, 1)];
      if (first !== 0 && first === second) await home(device!, first);
      else if (first !== second) await put(device!, 0, 0, 2);
      await device!.flush();
    },
    async read([device]) {
      const [one, other] = [await get(device!, 8), await get(device!, 16)];
      return one === other ? one : null;
    },
  };
}

/** Two copies; one is read where the other is missing. */
function mirror(flushesBoth: boolean): Toy {
  return {
    devices: 2,
    losesMembers: true,
    async work([one, other], acknowledged) {
      for (const value of VALUES) {
        await Promise.all([put(one!, 0, value), put(other!, 0, value)]);
        await Promise.all([one!.flush(), flushesBoth ? other!.flush() : Promise.resolve()]);
        acknowledged(value);
      }
    },
    recover: () => Promise.resolve(),
    read: ([one, other]) => get((one ?? other)!, 0),
  };
}

describe('a store is explored to its end and found good:', () => {
  it.each([
    ['a register', register(() => true)],
    ['two devices', twoDevices(true)],
    ['a log', redoLog(true)],
    ['a mirror', mirror(true)],
  ])('%s', async (_, toy) => {
    const report = await exploreToy(toy);
    expect(report.failures).toEqual([]);
    expect(report).toMatchObject({ stoppedBy: null, isExhaustive: true, leftBits: null });
    expect(report.images).toBeLessThan(report.states);
    expect(report.states).toBe(report.images + report.equal);
    expect(describeReport(report)).toContain('exhaustive: every subset at every cut');
  });
});

describe('this bug is found:', () => {
  it('no flush before the answer, though every state it leaves was good once', async () => {
    const { failures } = await exploreToy(register((value) => value !== 2));
    expect(failures).toMatchObject([
      { invariant: 'acknowledged', message: '2 was acknowledged, and 1 is there', missing: null },
    ]);
  });

  it('one device trusted to be as far as another', async () => {
    const { failures } = await exploreToy(twoDevices(false));
    expect(failures).toMatchObject([{ invariant: 'readable' }]);
    // The commit is durable and so not among them: all it takes is that the data is lost.
    expect(failures[0]!.point).toMatchObject({ kept: [], torn: [] });
    expect(failures[0]!.point.dropped).toHaveLength(1);
  });

  it('one device trusted to be as far as another, whose power stays on', async () => {
    const { failures } = await exploreToy(twoDevices(false), { spared: [1] });
    expect(failures).toMatchObject([{ invariant: 'readable', spared: [1] }]);
    expect(failures[0]!.text).toContain('the power stays on: device-1');
    // The other way round what it trusts is there.
    expect((await exploreToy(twoDevices(false), { spared: [0] })).failures).toEqual([]);
  });

  it('a recovery that clears its log before what it did is durable, by a second cut', async () => {
    const { failures } = await exploreToy(redoLog(false));
    expect(failures).toHaveLength(1);
    expect(failures[0]!.recovered).not.toBeNull();
    expect(failures[0]!.text).toContain('then, amid the recovery of that:');
  });

  it('a copy that is not durable, where the other is missing', async () => {
    const { failures } = await exploreToy(mirror(false));
    expect(failures).toMatchObject([{ invariant: 'acknowledged', missing: 0 }]);
    expect(failures[0]!.text).toContain('without device-0');
  });

  it('not by an explorer that checks equal states once only', async () => {
    const once = new Set<number>();
    vi.spyOn(SeenStates.prototype, 'owesCheck').mockImplementation((number) => {
      const isNew = !once.has(number);
      once.add(number);
      return isNew;
    });
    const { failures, isExhaustive } = await exploreToy(register((value) => value !== 2));
    expect([failures, isExhaustive]).toEqual([[], true]);
  });
});

it('a state that a second cut leaves is owed what comes to be owed for what was recovered', async () => {
  // Nothing is promised when the recovery of the entry is cut first, and clearing it may be all that stays.
  const late: Toy = {
    devices: 1,
    async work([device], acknowledged) {
      await put(device!, 0, 1);
      await device!.flush();
      acknowledged(0);
      acknowledged(1);
    },
    async recover([device]) {
      const entry = await get(device!, 0);
      if (entry === 0) return;
      await put(device!, 8, entry);
      await put(device!, 0, 0);
      await device!.flush();
    },
    read: ([device]) => get(device!, 8),
  };
  const { failures } = await exploreToy(late);
  expect(failures).toMatchObject([{ message: '1 was acknowledged, and 0 is there' }]);
  expect(failures[0]!.recovered).toMatchObject({ point: { kept: [], dropped: [] } });
  expect(failures[0]!.point.kept).toHaveLength(1);
});

describe('a failure', () => {
  it('can be had again from what it carries', async () => {
    const toy = twoDevices(false);
    const subject = await toySubject(toy);
    const { failures } = await explore(subject, { seed: 1 });
    const { point } = failures[0]!;
    const contents = contentsAt(subject.trace, subject.initial, PROFILES['sector-512'], point);
    const devices = contents.map(
      (content, device) =>
        new StateDevice(content, { name: `${device}`, size: subject.trace.devices[device]!.size }),
    );
    expect(await toy.read(devices)).toBeNull();
  });

  it('is as small as one by one makes it', async () => {
    // Of twelve writes two have to be there, and three others not.
    const pair: Toy = {
      devices: 1,
      async work([device]) {
        for (let sector = 0; sector < 12; sector++) await put(device!, sector, 1, 1);
      },
      recover: () => Promise.resolve(),
      async read([device]) {
        const values = await Promise.all([1, 3, 5, 7, 9].map((sector) => get(device!, sector)));
        return values.join('') === '01010' ? null : 0;
      },
    };
    const { failures } = await exploreToy(pair);
    expect(failures[0]!.point.kept).toEqual([3, 7]);
    expect(failures[0]!.text).toMatch(
      /of \d+ volatile writes 2 kept\n {4}kept #3 write of 512 bytes at 1536/,
    );
  });

  it('of each invariant is told once, as many as asked for', async () => {
    const both: Toy = {
      ...register(() => false),
      recover: async ([device]) => put(device!, 0, (await get(device!, 0)) + 1),
    };
    const one = await exploreToy(both);
    expect(one).toMatchObject({ stoppedBy: 'failures', isExhaustive: false });
    expect(one.failures).toHaveLength(1);
    const all = await exploreToy(both, { maxFailures: 9 });
    expect(all.failures.map(({ invariant }) => invariant)).toEqual(['twice']);
    expect(all.stoppedBy).toBeNull();
  });
});

describe('a run', () => {
  const many: Toy = {
    devices: 2,
    async work([one, other], acknowledged) {
      for (let sector = 0; sector < 14; sector += 2)
        await Promise.all([put(one!, sector, 1, 2), put(other!, sector, 1, 2)]);
      await Promise.all([one!.flush(), other!.flush()]);
      acknowledged(0);
    },
    recover: () => Promise.resolve(),
    read: () => Promise.resolve(0),
  };

  async function run(options: { seed: number; maxStates?: number }): Promise<string[]> {
    const seen: string[] = [];
    await explore(await toySubject(many, seen), options);
    return seen;
  }

  it('is the same for the same seed, and another for another', async () => {
    const first = await run({ seed: 7 });
    expect(first.length).toBeGreaterThan(100);
    expect(await run({ seed: 7 })).toEqual(first);
    expect(await run({ seed: 8 })).not.toEqual(first);
  });

  it('that is cut short is the beginning of the whole', async () => {
    const short = await run({ seed: 7, maxStates: 1000 });
    expect((await run({ seed: 7 })).slice(0, short.length)).toEqual(short);
  });

  it('that is cut short says so, and what is left', async () => {
    const report = await exploreToy(many, { maxStates: 1000 });
    expect(report).toMatchObject({ states: 1000, stoppedBy: 'states', isExhaustive: false });
    expect(report.leftBits).toBeGreaterThan(13);
    expect(describeReport(report)).toMatch(/1,000 states.*stopped: the number of states/s);
    expect(describeReport(report)).not.toContain('exhaustive:');
    const late = await exploreToy(many, { maxSeconds: 0 });
    expect(late).toMatchObject({ states: 0, stoppedBy: 'seconds', isExhaustive: false });
  });

  it('may be bounded by different states, of all cuts or of each', async () => {
    const few = await exploreToy(many, { maxImages: 300 });
    expect(few).toMatchObject({ images: 300, stoppedBy: 'images', isExhaustive: false });
    const each = await exploreToy(many, { maxImagesPerCut: 10 });
    expect(each).toMatchObject({ stoppedBy: null, isExhaustive: false });
    expect(each.images).toBeLessThanOrEqual(10 * each.cuts);
    expect(each.leftBits).toBeGreaterThan(13);
  });

  it('that has seen all that it looks at is not exhaustive where that was not every subset', async () => {
    const report = await exploreToy(many);
    expect(report).toMatchObject({ stoppedBy: null, isExhaustive: false });
    expect(report.exhaustiveCuts).toBeLessThan(report.cuts);
    // 14 writes: of their 2^14 subsets, and of fewer at the cuts before.
    expect(report.reachableBits).toBeGreaterThan(14);
    expect(report.leftBits).toBeLessThan(report.reachableBits);
    expect(report.reachableTornBits).toBeGreaterThan(28);
  });

  it('says nothing is left exactly when the last state that there was has been seen', async () => {
    const whole = await exploreToy(register(() => true));
    const exactly = await exploreToy(
      register(() => true),
      { maxStates: whole.states },
    );
    expect(exactly).toMatchObject({ states: whole.states, stoppedBy: null, isExhaustive: true });
    const less = await exploreToy(
      register(() => true),
      { maxStates: whole.states - 1 },
    );
    expect(less).toMatchObject({ stoppedBy: 'states', isExhaustive: false });
  });

  it('counts by hand what a register can be left in', async () => {
    // Cuts: the beginning, and after each submission, flush and mark of three values. Before a flush there is one
    // volatile write in two states; else none, in one.
    const { states, cuts, images, checks } = await exploreToy(register(() => true));
    expect({ states, cuts, images, checks }).toEqual({
      states: 1 + 3 * (2 + 1 + 1),
      cuts: 10,
      images: 4,
      checks: 13,
    });
  });
});
