/**
 * The bench of the crash lab, small: every way looks at as many states as were asked for, a file that is changed has what a copy would
 * have, and the volumes are explored. Its times are not looked at.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { MIB } from '../../src/bench/bench-array.js';
import { crashLabOf } from '../../src/bench/crash-lab.js';
import { CopiedStates, ShownStates } from '../../src/bench/crash-lab-states.js';
import { exploredImages, recordedDisk } from '../../src/bench/crash-lab-traces.js';
import type { ComparisonResult } from '../../src/bench/measure.js';
import { BENCHES } from '../../src/bench/registry.js';
import { comparisonOf, contenderOf, measuredOnce } from '../support/measured-once.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const folder = await temporaryFolder();
const STATES = 12;

describe('the bench of the crash lab', () => {
  let results: readonly ComparisonResult[] = [];

  beforeAll(async () => {
    const bench = crashLabOf({
      disks: new Map([[MIB, STATES]]),
      volumeBytes: 4 * MIB,
      volumeStates: 300,
    });
    ({ results } = await measuredOnce(bench, join(folder, 'bench')));
  });

  test.each(['1 MiB', '1 MiB, with a command'])(
    'of a disk, %s: as many states by a copy as by a change',
    (title) => {
      for (const name of ['copy', 'changed'])
        expect(contenderOf(comparisonOf(results, title), name).counts).toEqual({ images: STATES });
    },
  );

  test.each(['4 MiB, RAID-5', '4 MiB, files on RAID-5'])(
    'of a volume, %s: so many states, of which some differ',
    (title) => {
      const { states, images, checks } = contenderOf(comparisonOf(results, title), 'built-in check').counts;
      expect(states).toBe(300);
      expect(images).toBeGreaterThan(1);
      expect(checks).toBeGreaterThanOrEqual(images!);
    },
  );

  test('is among those that are run', () => {
    expect(BENCHES.map(({ name }) => name)).toContain('crash-lab');
  });
});

test('a file that is changed from state to state has what a copy of the image has with the writes made', async () => {
  const { trace, image, close } = await recordedDisk(join(folder, 'disk'), MIB);
  const [copy, changed] = [join(folder, 'copy'), join(folder, 'changed')];
  const copied = new CopiedStates(image, { path: copy, command: null });
  const shown = new ShownStates({ path: changed, command: null });
  const seen = new Set<string>();
  await exploredImages(trace, STATES, async (device) => {
    await copied.show(device);
    await shown.show(device);
    const content = await readFile(changed);
    expect(content.equals(await readFile(copy))).toBe(true);
    seen.add(content.toString('base64'));
  });
  expect(seen.size).toBe(STATES);
  close();
});
