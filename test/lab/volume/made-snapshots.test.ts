/**
 * Snapshots that come and go while a volume is recorded, their containers files beside it and ranges of it: whatever a cut leaves, what says that
 * it is good is, clients have what they were told, and nothing of a container shows.
 */
import { writeFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { readTrace, type StoredTrace } from '../../../src/crash/trace-file/trace-reader.js';
import { exploreVolume } from '../../../src/lab/volume/explore-volume.js';
import { notWarned } from '../../support/lab/not-warned.js';
import { qemuIo, recordedWith } from '../../support/lab/recorded-volume.js';
import { withoutBarriers } from '../../support/lab/without-barriers.js';
import { BINARY, ok } from '../../support/run-holdfast.js';
import { seeded } from '../../support/seed.js';
import { temporaryFolder } from '../../support/temporary-folder.js';

const LIMIT = { timeout: 180_000 };
const { seed = 1 } = seeded();
const RAID = ['--members', '3', '--size', '2M', '--chunk', '16K'];

/** `before`: the container of one that is there already; `later`: of one that is made, and deleted. */
async function recorded(before: string[], later: string[], overwritten: string): Promise<StoredTrace> {
  const work = (volume: string): string => {
    const snapshot = (...words: string[]) =>
      [process.execPath, BINARY, 'snapshot', ...words].map((word) => `'${word}'`).join(' ');
    return [
      qemuIo(['write -P 1 8k 12k', 'flush']),
      snapshot('create', volume, '--name', 'made', ...later),
      qemuIo(['write -P 2 0 24k', 'write -P 3 64k 4k', 'flush']),
      snapshot('create', volume, '--name', 'last'),
      snapshot('delete', volume, '--name', 'made'),
      qemuIo([`write -P 4 ${overwritten} 4k`, 'flush', 'write -P 5 8k 4k', 'flush']),
    ].join(' && ');
  };
  const { trace } = await recordedWith(RAID, work, async (volume) => {
    const input = `${volume}.data`;
    await writeFile(input, Buffer.alloc(512 * 1024, 0x55));
    await ok('write', volume, '--offset', '0', '--input', input);
    await ok('snapshot', 'create', volume, '--name', 'before', ...before);
  });
  return readTrace(trace);
}

async function explore(trace: StoredTrace, maxStates: number) {
  const directory = await temporaryFolder();
  const signal = new AbortController().signal;
  const limits = { maxStates, maxImagesPerCut: 3, maxFailures: 9 };
  return exploreVolume(trace, { seed, directory, signal, ...limits, warn: notWarned });
}

const IN_RANGE = ['--container', 'range:1M+128K'];

it.each([
  ['files', [], [], '1M'],
  ['ranges, given back and then written to', ['--container', 'range:1536K+128K'], IN_RANGE, '1M'],
  ['a range that is written to', IN_RANGE, ['--container', 'range:1536K+128K'], '1M'],
] as const)(`with containers in %s all holds, seed ${seed}`, LIMIT, async (_, before, later, overwritten) => {
  const trace = await recorded([...before], [...later], overwritten);
  const report = await explore(trace, 40_000);
  expect([report.failures, report.states]).toEqual([[], 40_000]);
  expect(report.cuts).toBeGreaterThan(150);
});

/** As if images of such names promised what they do not hold. */
async function foundWithout(end: string): Promise<string[]> {
  const trace = await recorded([], ['--container', 'range:1M+128K'], '1M');
  const { failures } = await explore(
    withoutBarriers(trace, (name) => name.endsWith(end)),
    40_000,
  );
  return failures.map(({ invariant }) => invariant);
}

it('a list that is not durable when it is said to be is found: a container shows', LIMIT, async () => {
  expect(await foundWithout('snapshots.json')).toContain('what nobody wrote has changed');
});

it('containers that are not durable when they are said to be are found', LIMIT, async () => {
  const wanted = ['a snapshot has changed', 'a snapshot is no moment of the volume'];
  expect(await foundWithout('.kept')).toEqual(expect.arrayContaining(wanted));
});
