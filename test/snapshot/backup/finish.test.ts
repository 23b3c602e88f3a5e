/** A backup that is cancelled while it is finished: it is a good one or none, and what is said of it is so. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { BackupTarget } from '../../../src/snapshot/backup/target.js';
import { openSet, SetWriter } from '../../../src/snapshot/set/index.js';
import { openImageTarget } from '../../../src/volume/backup/image-target.js';
import { BackupBench } from '../../support/snapshot/backup-bench.js';
import { temporaryFolder } from '../../support/temporary-folder.js';

const CONTENT = randomBytes(256 * 1024);
/** More than any of them takes. */
const MOST_TURNS = 60;

/** Abandoned so many turns after its finish was begun; whether it became good, as both have it. */
async function abandonedAfter(target: BackupTarget, turns: number): Promise<boolean> {
  await target.put(0, CONTENT);
  const finished = target.finish().then(
    () => true,
    () => false,
  );
  for (let turn = 0; turn < turns; turn++) await setImmediate();
  const isMarked = await target.abandon('cancelled', 'somebody asked for it');
  expect(isMarked).toBe(!(await finished));
  return !isMarked;
}

describe('a target that is abandoned amid its finish', { timeout: 60_000 }, () => {
  it('in a set is good with all that it has, or cancelled', async () => {
    const directory = join(await temporaryFolder(), 'set');
    for (let turns = 0; turns < MOST_TURNS; turns++) {
      const name = `after-${turns}`;
      const sizeBytes = CONTENT.length;
      const writer = await SetWriter.create(directory, { name, since: null, sizeBytes, label: 'v' });
      const isGood = await abandonedAfter(writer, turns);
      const set = await openSet(directory);
      expect((await set.find(name))?.state).toBe(isGood ? 'good' : 'cancelled');
      if (isGood) expect((await readFile(join(directory, name, 'data'))).equals(CONTENT)).toBe(true);
    }
  });

  it('as an image has its name, or is gone', async () => {
    const folder = await temporaryFolder();
    for (let turns = 0; turns < MOST_TURNS; turns++) {
      const image = join(folder, `after-${turns}`);
      const target = await openImageTarget(image, {
        sizeBytes: CONTENT.length,
        force: false,
        signal: new AbortController().signal,
      });
      const isGood = await abandonedAfter(target, turns);
      expect(existsSync(image)).toBe(isGood);
      expect(existsSync(`${image}.incomplete`)).toBe(false);
      if (isGood) expect((await readFile(image)).equals(CONTENT)).toBe(true);
    }
  });
});

it('what was good before it could be cancelled is said to be good', async () => {
  const bench = new BackupBench();
  await bench.fill();
  const { target } = bench;
  target.finish = async () => {
    target.end = 'good';
    bench.cancel.abort(new Error('too late'));
    await new Promise(() => {});
  };
  target.abandon = async () => false;
  expect(await bench.run()).toMatchObject({ unreadable: [] });
});
