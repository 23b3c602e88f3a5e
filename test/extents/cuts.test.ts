/**
 * The power goes at every event of a few commits, and again at every few events of the recovery: a file is as of a
 * commit point, never older than the last that was acknowledged (crash model, invariants 4 and 10; data journaling,
 * paragraphs 48 to 50). The metadata are sound, and recovering twice leaves what recovering once does.
 */
import { describe, expect, it } from 'vitest';
import type { CutMode } from '../support/devices/volatile-device.js';
import { BLOCK_BYTES, contentOf, EXTENT_BYTES, filled, Stage, type StageOptions } from './support/stage.js';

const SIZE = 4 * EXTENT_BYTES;
const MODES: readonly CutMode[] = ['none', 'all', 'sectors', 'writes'];

interface Run {
  readonly points: readonly Uint8Array[];
  acknowledged: number;
}

/** Swaps, copies home, clearings, a shrinking and a second write to what is being committed. */
async function use(stage: Stage, run: { points: Uint8Array[]; acknowledged: number }): Promise<void> {
  const store = await stage.open();
  if ((await store.files.find('disk')) === null) await store.files.create('disk', { sizeBytes: SIZE });
  const file = await store.openFile('disk', { access: 'write' });
  let content = new Uint8Array(SIZE);
  const write = (offset: number, length: number, fill: number) => {
    const next = new Uint8Array(Math.max(content.length, offset + length));
    next.set(content);
    content = next.fill(fill, offset, offset + length);
    return file.write(offset, filled(length, fill));
  };
  const commit = async () => {
    run.points.push(content.slice());
    const point = run.points.length;
    await file.commit();
    run.acknowledged = Math.max(run.acknowledged, point);
  };
  await write(100, 2 * EXTENT_BYTES, 1);
  await commit();
  await write(EXTENT_BYTES + 10, 700, 2);
  await write(3 * EXTENT_BYTES, 5 * BLOCK_BYTES, 3);
  const committing = commit();
  // Where the write fails first, it is the write's failure that ends the run.
  committing.catch(() => {});
  await write(EXTENT_BYTES, 3000, 4);
  await committing;
  await commit();
  content.fill(0, 0, EXTENT_BYTES + 600);
  await file.clear(0, EXTENT_BYTES + 600);
  content = content.slice(0, 3 * EXTENT_BYTES + 77);
  await file.resize(content.length);
  await commit();
  await file.close();
  await store.close();
}

async function lastOf(stage: Stage): Promise<Uint8Array | null> {
  const store = await stage.open();
  if ((await store.files.find('disk')) === null) return null;
  const found = await contentOf(await store.openFile('disk', { access: 'read' }));
  await store.close();
  return found;
}

/** The point that it is at; the file before the first commit is point 0. */
function pointOf(found: Uint8Array | null, { points }: Run): number {
  const all = [new Uint8Array(SIZE), ...points];
  return found === null ? 0 : all.findLastIndex((point) => Buffer.compare(point, found) === 0);
}

async function cutAt(options: StageOptions, event: number, mode: CutMode, cutsRecoveryAt: number | null) {
  const stage = await Stage.make(options);
  const run = { points: [] as Uint8Array[], acknowledged: 0 };
  stage.power.cutAtEvent(stage.power.events + event);
  const isOver = await use(stage, run).then(
    () => true,
    () => false,
  );
  await stage.crash(event, mode);
  if (cutsRecoveryAt !== null) {
    stage.power.cutAtEvent(stage.power.events + cutsRecoveryAt);
    await lastOf(stage).catch(() => null);
    await stage.crash(event + 1, mode);
  }
  const found = await lastOf(stage);
  const at = { event, mode, cutsRecoveryAt };
  expect({ ...at, isPoint: pointOf(found, run) >= run.acknowledged }).toEqual({ ...at, isPoint: true });
  expect(await stage.findings()).toEqual([]);
  await stage.crash(event, 'none');
  expect(await lastOf(stage)).toEqual(found);
  return isOver;
}

const SETTINGS: readonly (readonly [string, StageOptions])[] = [
  ['one target', { extents: 24 }],
  ['two targets', { extents: 24, splitAt: 9, store: { journalShares: false, writeBehindBytes: 0 } }],
  ['associated at once', { extents: 24, store: { associates: 'at-once' } }],
];

describe('paragraphs 48 to 50: a power cut at every event leaves a commit point', () => {
  it.each(SETTINGS)('%s', async (_, options) => {
    let isOver = false;
    for (let event = 1; !isOver; event++) {
      isOver = await cutAt(options, event, MODES[event % MODES.length]!, null);
      expect(event).toBeLessThan(1000);
    }
  });

  it('also when it goes again while it recovers', async () => {
    for (let event = 20; event < 140; event += 3) {
      await cutAt(SETTINGS[0]![1], event, 'sectors', 1 + (event % 17));
    }
  });
});
