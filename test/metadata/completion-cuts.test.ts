/**
 * Completion (completion.ts) over devices with volatile caches, cut at every event, and done by somebody else after it:
 * the same outcome whoever it is (data journaling, paragraph 49). And each barrier taken out in turn: something
 * breaks.
 */
import { describe, expect, it } from 'vitest';
import type { MemoryDevice } from '../../src/device/memory.js';
import { completeAll, completeTransactions } from '../../src/metadata/completion.js';
import { type CutMode, PowerSupply, VolatileDevice } from '../support/devices/volatile-device.js';
import { applied, type Change, commitStart, EXTENT_BYTES, readFile, TwoTargets } from './support/pool.js';
import { type Ask, BLOCKS, makeFile, Stage } from './support/stage.js';

const EXTENTS = 32;
const FILE_EXTENTS = 4;
const MODES: readonly CutMode[] = ['none', 'all', 'prefix', 'writes', 'sectors'];

/** All blocks of an extent with one fill, but for those left out. */
function filled(fill: number, ...blocks: number[]): Record<number, number> {
  const chosen = blocks.length > 0 ? blocks : Array.from({ length: BLOCKS }, (_, at) => at);
  return Object.fromEntries(chosen.map((block) => [block, fill]));
}

interface Scene {
  readonly stage: Stage;
  readonly ask: Ask;
  readonly devices: readonly [VolatileDevice, VolatileDevice];
  readonly pool: TwoTargets;
  readonly file: number;
  /** What the file must read as from the moment that the transactions were hardened. */
  readonly expected: readonly number[];
  readonly transactions: readonly number[];
}

interface SceneOptions {
  readonly keepsBarrier?: () => boolean;
}

/** Two transactions, hardened and not done: swaps and copies home, shared, cleared, one on top of the other. */
async function scene(options: SceneOptions = {}): Promise<Scene> {
  const stage = await Stage.make({ extents: EXTENTS });
  const power = new PowerSupply();
  let isStarted = false;
  const keepsBarrier = () => !isStarted || (options.keepsBarrier?.() ?? true);
  const make = (name: string) =>
    new VolatileDevice((EXTENTS / 2) * EXTENT_BYTES, { name, power, keepsBarrier });
  const devices = [make('first'), make('second')] as const;
  const pool = new TwoTargets(devices);
  const ask = await stage.open('a');
  const file = await makeFile(ask, 'disk');
  let expected = new Array<number>(FILE_EXTENTS * BLOCKS).fill(0);
  const begin = async (changes: readonly Change[]) => {
    expected = applied(expected, changes, file);
    return (await commitStart(ask, pool, changes)).transaction;
  };
  const first = await begin([0, 1, 2].map((index) => ({ file, index, blocks: filled(10 + index) })));
  await completeTransactions(stage.server, 'a', [first], pool);
  await ask('Snapshot_File', { file, name: 'kept' });
  const own = await begin([
    { file, index: 0, blocks: filled(20) },
    { file, index: 1, blocks: filled(21) },
  ]);
  await completeTransactions(stage.server, 'a', [own], pool);
  const transactions = [
    await begin([
      { file, index: 0, blocks: { ...filled(30, 0, 1, 2, 3, 4), 7: null } },
      { file, index: 1, blocks: filled(31, 5) },
      { file, index: 2, blocks: filled(32, 6) },
      { file, index: 3, blocks: filled(33, 1) },
    ]),
    await begin([
      { file, index: 0, blocks: filled(40, 4, 5) },
      { file, index: 1, blocks: filled(41, 0, 1, 2, 3, 4) },
    ]),
  ];
  isStarted = true;
  return { stage, ask, devices, pool, file, expected, transactions };
}

type Finisher = 'client' | 'another client' | 'recovery';

/** The power is back: the server opens anew, and somebody completes. */
async function finishAfter(
  { stage, devices, file, transactions }: Scene,
  who: Finisher,
  seed: number,
  mode: CutMode,
) {
  const left = devices.map((device) => device.cutPower(seed, mode)) as [MemoryDevice, MemoryDevice];
  const pool = new TwoTargets(left);
  const name = who === 'client' ? 'a' : 'z';
  if (who !== 'another client') await stage.restart();
  const ask = await stage.open(name);
  if (who === 'recovery') await ask('End_Client', { ended: 'a' });
  if (who === 'another client') await leaseEnds(stage, ask, transactions);
  const { blocked } = await completeAll(stage.server, name, pool);
  expect(blocked).toEqual([]);
  await stage.settledCheck();
  expect(
    (await ask('Map_Extents', { file, from: 0, count: FILE_EXTENTS })).extents.flatMap((one) => one.pending),
  ).toEqual([]);
  return readFile(ask, pool, file, FILE_EXTENTS);
}

/** The server lives, the client says nothing any more: others are told of what it leaves. */
async function leaseEnds(stage: Stage, ask: Ask, transactions: readonly number[]): Promise<void> {
  stage.nowMs += stage.leaseMs;
  await ask('Renew_Lease', {});
  stage.nowMs += 1;
  await ask('Space', {});
  expect(transactions).toEqual(expect.arrayContaining(stage.orphans));
}

/** Cuts the completion at this event of the devices; false: it ended before. */
async function cutAt(at: Scene, event: number): Promise<boolean> {
  const { power } = at.devices[0];
  power.cutAtEvent(power.events + event);
  try {
    await completeTransactions(at.stage.server, 'a', at.transactions, at.pool);
    return false;
  } catch (cause) {
    expect(cause).toMatchObject({ name: 'CompletionError' });
    return true;
  }
}

it('without a cut the file reads the same before, amid and after', async () => {
  const at = await scene();
  expect(await readFile(at.ask, at.pool, at.file, FILE_EXTENTS)).toEqual(at.expected);
  const { statistics } = await completeTransactions(at.stage.server, 'a', at.transactions, at.pool);
  expect(statistics).toEqual({
    transactions: 2,
    swappedExtents: 4,
    committedExtents: 2,
    // 2 kept beside five marked and one cleared; 7 of the shared one; none of the new one; 3 beside five marked.
    copiedBlocks: 2 + 7 + 0 + 3,
    copiedHomeBlocks: 1 + 2,
  });
  expect(await readFile(at.ask, at.pool, at.file, FILE_EXTENTS)).toEqual(at.expected);
  await at.stage.settledCheck();
});

describe('paragraph 49: cut at every event of the devices, it is completed', () => {
  it.each<Finisher>(['client', 'another client', 'recovery'])(
    'by the %s, with the same outcome',
    async (who) => {
      for (let event = 1; ; event++) {
        const at = await scene();
        const isCut = await cutAt(at, event);
        expect(await finishAfter(at, who, event, MODES[event % MODES.length]!), `event ${event}`).toEqual(
          at.expected,
        );
        if (!isCut) {
          expect(event).toBeGreaterThan(20);
          break;
        }
      }
    },
  );
});

it('paragraph 50: the server dies at each of its commits amid the completion, and knows enough after it', async () => {
  for (let commits = 0; ; commits++) {
    const at = await scene();
    at.stage.engine.commitsLeft = commits;
    let isDone = true;
    try {
      await completeTransactions(at.stage.server, 'a', at.transactions, at.pool);
    } catch (cause) {
      expect(cause).toMatchObject({ code: 'IO_ERROR' });
      isDone = false;
    }
    const read = await finishAfter(at, commits % 2 === 0 ? 'client' : 'recovery', commits, 'none');
    expect(read, `after ${commits} commits`).toEqual(at.expected);
    if (isDone) {
      expect(commits).toBeGreaterThan(3);
      break;
    }
  }
});

it('each flush of the completion is needed: without it a cut loses blocks', async () => {
  let flushes = 0;
  const counted = await scene({
    keepsBarrier: () => {
      flushes += 1;
      return true;
    },
  });
  await completeTransactions(counted.stage.server, 'a', counted.transactions, counted.pool);
  expect(flushes).toBeGreaterThan(2);
  for (let without = 1; without <= flushes; without++) {
    // Volatile blocks are lost where the cut comes between the message to the server and the next flush.
    let isLost = false;
    for (let event = 1, isCut = true; isCut && !isLost; event++) {
      let seen = 0;
      const at = await scene({ keepsBarrier: () => ++seen !== without });
      isCut = await cutAt(at, event);
      const read = await finishAfter(at, 'client', 1, 'none');
      isLost = JSON.stringify(read) !== JSON.stringify(at.expected);
    }
    expect(isLost, `flush ${without} of ${flushes}`).toBe(true);
  }
});
