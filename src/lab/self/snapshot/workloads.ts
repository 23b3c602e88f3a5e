/** What is done to a volume with moments before its power is cut. */
import type { SnapshotsBench, SnapshotsWorkload } from './recording.js';

const SECTORS = 59;
const KINDS = ['data', 'data', 'data', 'zeroes', 'trim'] as const;
/** Where they write, so that no two are at work on one sector. */
const SHARES = [
  [0, 29],
  [30, SECTORS],
] as const;
/** Room for two blocks that are kept one by one. */
const SMALL_LAYER = 2 * 4608 + 1024;

/** Writes here and there, one after another. */
async function writes(
  { random, write, flush, isCached }: SnapshotsBench,
  count: number,
  share = [0, SECTORS] as readonly [number, number],
) {
  const [low, high] = share;
  for (let left = count; left > 0; left--) {
    const sectors = random.between(1, 9);
    const from = random.between(low, high - sectors);
    // Of less than a block a cache keeps what it was.
    const kinds = isCached ? KINDS.slice(0, -1) : KINDS;
    await write(random.pick(kinds), from, sectors);
    if (isCached && random.chance(0.2)) await write('trim', Math.ceil(low / 8) * 8, 16);
    if (random.chance(0.2)) await flush();
  }
}

/** Several at a time. */
async function atOnce(bench: SnapshotsBench, count: number): Promise<void> {
  await Promise.all(SHARES.map((share) => writes(bench, count, share)));
}

/** Whatever becomes of them. */
async function tried(bench: SnapshotsBench, count: number): Promise<void> {
  for (let left = count; left > 0; left--) await writes(bench, 1).catch(() => {});
  await bench.flush().catch(() => {});
}

function isGood({ stack }: SnapshotsBench, name: string): boolean {
  return stack.snapshots.list().some((each) => each.name === name && each.state === 'good');
}

/** Else what is meant has not come about. */
function expectGood(bench: SnapshotsBench, name: string, is: boolean): void {
  if (isGood(bench, name) !== is) throw new Error(`${name} is ${is ? 'not ' : ''}good`);
}

async function killedAt(bench: SnapshotsBench, call: () => Promise<unknown>): Promise<void> {
  const [outcome] = await Promise.allSettled([call()]);
  if (outcome!.status === 'fulfilled') throw new Error('it was not killed');
  await bench.reopen('killed');
}

const plain: SnapshotsWorkload[] = [
  {
    name: 'snapshots come and go amid writes',
    async run(bench) {
      await writes(bench, 2);
      const all = atOnce(bench, 7);
      await bench.create('first');
      await bench.create('second');
      await bench.delete('first');
      await all;
      await bench.flush();
    },
  },
  {
    name: 'three in a chain, and the middle one is deleted',
    async run(bench) {
      for (const name of ['first', 'second', 'third']) {
        await bench.create(name);
        await writes(bench, 2);
      }
      await Promise.all([bench.delete('second'), writes(bench, 3)]);
      await writes(bench, 2);
    },
  },
  {
    name: 'three in a chain, and the newest one is deleted',
    async run(bench) {
      for (const name of ['first', 'second', 'third']) {
        await bench.create(name);
        await writes(bench, 2);
      }
      await Promise.all([bench.delete('third'), writes(bench, 3)]);
      await atOnce(bench, 2);
    },
  },
  {
    name: 'two in a chain, and the oldest one is deleted',
    async run(bench) {
      await bench.create('first');
      await writes(bench, 2);
      await bench.create('second');
      await Promise.all([bench.delete('first'), writes(bench, 3)]);
      await bench.create('third');
      await atOnce(bench, 2);
      await bench.flush();
    },
  },
  {
    name: 'marks and snapshots',
    async run(bench) {
      await bench.create('mark', { kind: 'mark' });
      await writes(bench, 2);
      const all = atOnce(bench, 4);
      await bench.create('snapshot');
      await bench.create('later mark', { kind: 'mark' });
      await bench.delete('mark');
      await all;
    },
  },
  {
    name: 'marks alone, and the newest and the oldest one are deleted',
    async run(bench) {
      for (const name of ['first', 'second', 'third']) {
        await bench.create(name, { kind: 'mark' });
        await writes(bench, 2);
      }
      await Promise.all([bench.delete('third'), writes(bench, 2)]);
      await Promise.all([bench.delete('first'), writes(bench, 2)]);
    },
  },
  {
    name: 'one that is not written down beside one that is',
    async run(bench) {
      await bench.create('first');
      await bench.create('volatile', { kind: 'volatile' });
      await writes(bench, 3);
      await bench.create('second');
      await bench.delete('volatile');
      await writes(bench, 3);
    },
  },
];

const cachedOnes: SnapshotsWorkload[] = [
  {
    name: 'with a cache, snapshots amid writes',
    isCached: true,
    async run(bench) {
      await writes(bench, 4);
      const all = atOnce(bench, 8);
      await bench.create('first');
      await bench.create('mark', { kind: 'mark' });
      await all;
      await bench.create('second');
      await atOnce(bench, 4);
      await bench.delete('first');
      await bench.flush();
    },
  },
  {
    name: 'with a cache, killed and opened anew',
    isCached: true,
    async run(bench) {
      await writes(bench, 4);
      await bench.create('first');
      await writes(bench, 5);
      await bench.reopen('killed');
      await bench.create('second');
      await writes(bench, 4);
      await bench.flush();
    },
  },
];

const backups: SnapshotsWorkload[] = [false, true].flatMap((isCached) => [
  {
    name: `a backup beside snapshots${isCached ? ', with a cache' : ''}`,
    isCached,
    async run(bench) {
      await writes(bench, 2);
      await bench.create('first');
      const all = atOnce(bench, 6);
      const backup = bench.backUp('backup');
      await bench.create('second');
      await all;
      await Promise.all([bench.delete('first'), backup]);
      await writes(bench, 2);
    },
  },
]);

const reopened: SnapshotsWorkload[] = [
  {
    name: 'left and opened anew',
    async run(bench) {
      await bench.create('first');
      await atOnce(bench, 2);
      await bench.reopen('closed');
      await writes(bench, 2);
      await bench.create('second');
      await bench.reopen('closed');
      await atOnce(bench, 2);
    },
  },
  {
    name: 'killed before what is kept is durable, and opened anew',
    async run(bench) {
      await bench.create('first');
      await bench.create('mark', { kind: 'mark' });
      await writes(bench, 1);
      bench.fail({ part: 'layers', call: 'flush', times: 'killed' });
      await killedAt(bench, () => bench.write('data', 1, 50));
      await bench.write('data', 3, 40);
      await bench.flush();
      await writes(bench, 2);
      await bench.flush();
    },
  },
  {
    name: 'killed amid a delete, and opened anew',
    async run(bench) {
      await bench.create('first');
      await writes(bench, 1);
      bench.fail({ part: 'list', call: 'flush', times: 'killed' });
      await killedAt(bench, () => bench.delete('first'));
      await bench.write('data', 1, 40);
      await bench.flush();
      await bench.create('second');
      await writes(bench, 2);
    },
  },
  {
    name: 'killed amid a create, and opened anew',
    async run(bench) {
      await bench.create('first');
      await writes(bench, 1);
      bench.fail({ part: 'list', call: 'flush', times: 'killed' });
      await killedAt(bench, () => bench.create('second'));
      await bench.write('data', 1, 40);
      await bench.flush();
      await writes(bench, 2);
    },
  },
];

const lossy: SnapshotsWorkload[] = [
  ...(['drop', 'throttle', 'fail'] as const).map((onOverflow) => ({
    name: `a layer fills up: ${onOverflow}`,
    async run(bench: SnapshotsBench) {
      await bench.create('first');
      await writes(bench, 1);
      await bench.create('second', { onOverflow, layerBytes: SMALL_LAYER });
      if (onOverflow !== 'fail') bench.expectLosses();
      await tried(bench, 4);
      await bench.write('data', 1, 50).catch(() => {});
      expectGood(bench, 'second', onOverflow === 'fail');
      expectGood(bench, 'first', true);
      await bench.create('third');
      await tried(bench, 2);
    },
  })),
  {
    name: 'the only layer fills up: drop',
    async run(bench) {
      await bench.create('first', { onOverflow: 'drop', layerBytes: SMALL_LAYER });
      bench.expectLosses();
      await tried(bench, 3);
      await bench.write('data', 1, 50);
      expectGood(bench, 'first', false);
      await bench.delete('first');
      await bench.create('second');
      await tried(bench, 2);
    },
  },
  ...(['write', 'flush'] as const).map((call) => ({
    name: `a layer fails: ${call}`,
    async run(bench: SnapshotsBench) {
      await bench.create('first');
      await writes(bench, 1);
      await bench.create('second');
      await bench.create('mark', { kind: 'mark' });
      bench.expectLosses();
      await writes(bench, 1);
      bench.fail({ part: 'layers', call, times: 1 });
      await Promise.all(SHARES.map((share) => writes(bench, 3, share).catch(() => {})));
      await bench.write('data', 1, 50).catch(() => {});
      if (['first', 'second', 'mark'].every((name) => isGood(bench, name))) throw new Error('none is lost');
      await bench.create('third');
      await tried(bench, 2);
    },
  })),
  {
    name: 'a layer fails, and the list too',
    async run(bench) {
      await bench.create('first');
      await writes(bench, 1);
      await bench.create('second');
      bench.expectLosses();
      bench.fail({ part: 'layers', call: 'flush', times: 1 });
      bench.fail({ part: 'list', call: 'write', times: 1 });
      await tried(bench, 3);
      await bench.write('data', 1, 50).catch(() => {});
      expectGood(bench, 'first', false);
      await bench.create('third').catch(() => {});
      await tried(bench, 3);
    },
  },
  {
    name: 'a layer fails, and list and names for a while',
    async run(bench) {
      await bench.create('first');
      await bench.create('second');
      await writes(bench, 1);
      bench.expectLosses();
      bench.fail({ part: 'layers', call: 'write', times: 1 });
      bench.fail({ part: 'list', call: 'flush', times: 2 });
      bench.fail({ part: 'names', call: 'flush', times: 2 });
      await bench.write('data', 1, 50).catch(() => {});
      await tried(bench, 6);
      expectGood(bench, 'first', false);
    },
  },
  ...(['write', 'flush'] as const).map((call) => ({
    name: `a snapshot that cannot be put on the list amid writes: ${call}`,
    async run(bench: SnapshotsBench) {
      await bench.create('first');
      await writes(bench, 1);
      const all = atOnce(bench, 5);
      bench.fail({ part: 'list', call, times: 1 });
      await bench.create('second').catch(() => {});
      await all;
      await bench.flush();
    },
  })),
  {
    name: 'a snapshot that can neither be put on the list nor taken off it, amid writes',
    async run(bench) {
      await bench.create('first');
      await writes(bench, 1);
      bench.expectLosses();
      const all = atOnce(bench, 5);
      bench.fail({ part: 'list', call: 'flush', times: 2 });
      await bench.create('second').catch(() => {});
      await all;
      await bench.flush();
    },
  },
];

/** Nothing fails. */
export const WHOLE_WORKLOADS: readonly SnapshotsWorkload[] = [
  ...plain,
  ...cachedOnes,
  ...backups,
  ...reopened,
];

/** A layer is full, or something fails. */
export const LOSSY_WORKLOADS: readonly SnapshotsWorkload[] = lossy;

export const SNAPSHOTS_WORKLOADS: readonly SnapshotsWorkload[] = [...WHOLE_WORKLOADS, ...LOSSY_WORKLOADS];
