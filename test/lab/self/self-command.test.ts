/** `crash explore --self` as users run it: each layer in all its workloads, the same by the same seed, and what fails is told. */
import { expect, it } from 'vitest';
import { layerOutcome } from '../../../src/cli/explore-outcomes.js';
import type { Report } from '../../../src/crash/explorer-report.js';
import { LAYER_NAMES } from '../../../src/lab/self/layer-names.js';
import { workloadsOf } from '../../../src/lab/self/layers.js';
import { exploreWorkload } from '../../../src/lab/self/raid/run.js';
import { FIRST_HALF } from '../../../src/lab/self/raid/workloads.js';
import { writeOneCopy } from '../../support/planted-faults.js';
import { ok, runHoldfast } from '../../support/run-holdfast.js';

interface ExploredLayer {
  readonly layer: string;
  readonly states: number;
  readonly images: number;
  readonly workloads: readonly (Omit<Report, 'failures'> & {
    readonly name: string;
    readonly failures: readonly { readonly kind: string }[];
  })[];
}

it.each(LAYER_NAMES)(
  '%s is explored in all its workloads, and all is well',
  { timeout: 300_000 },
  async (layer) => {
    const explored = (await ok(
      'crash',
      'explore',
      '--self',
      layer,
      '--max-states',
      '40',
    )) as unknown as ExploredLayer;
    expect(explored.layer).toBe(layer);
    expect(explored.workloads.map(({ name }) => name)).toEqual(workloadsOf(layer).map(({ name }) => name));
    expect(new Set(explored.workloads.map(({ name }) => name)).size).toBe(explored.workloads.length);
    expect(explored.workloads.filter(({ failures }) => failures.length > 0)).toEqual([]);
    // Each has been cut, and was not just recorded.
    expect(explored.workloads.filter(({ images }) => images < 2)).toEqual([]);
    expect(explored.states).toBe(explored.workloads.reduce((sum, { states }) => sum + states, 0));
  },
);

it('the same seed finds the same, another one other states', { timeout: 120_000 }, async () => {
  const run = async (seed: string) => {
    const args = ['--self', 'raid', '--max-states', '2000', '--seed', seed];
    const { workloads } = (await ok('crash', 'explore', ...args)) as unknown as ExploredLayer;
    return workloads.map(({ seconds: _, ...rest }) => rest);
  };
  const first = await run('7');
  expect(await run('7')).toEqual(first);
  expect(await run('8')).not.toEqual(first);
});

it('for people: a line a workload, and one for all', { timeout: 120_000 }, async () => {
  const { stdout } = await runHoldfast([
    'crash',
    'explore',
    '--self',
    'raid',
    '--max-states',
    '40',
    '--profile',
    'kill-9',
  ]);
  const lines = stdout.trimEnd().split('\n');
  expect(lines).toHaveLength(workloadsOf('raid').length + 1);
  expect(lines.at(-1)).toMatch(/^raid: \d+ workloads, \d+ states, \d+ different; all is well$/);
});

it('Ctrl-C ends it amid its states', { timeout: 120_000 }, async () => {
  // Far more than there is time for: what does not hear of the signal fails by the limit of this test.
  const args = [
    'crash',
    'explore',
    '--self',
    'raid',
    '--max-states',
    '200000000',
    '--max-images-per-cut',
    '200',
  ];
  const run = await runHoldfast(args, { onStart: (child) => setTimeout(() => child.kill('SIGINT'), 3000) });
  expect(run.exitCode).toBe(130);
  expect(run.stderr).toContain('interrupted by SIGINT');
});

it('what fails is told, and is the exit code', { timeout: 120_000 }, async () => {
  const workload = FIRST_HALF.find(({ name }) => name === 'several writers on the same stripes')!;
  const { report } = await exploreWorkload(workload, {
    ...{ seed: 1, maxStates: 200_000, maxImagesPerCut: 200, mutate: writeOneCopy },
  });
  const outcome = layerOutcome('raid', [{ name: workload.name, report }]);
  const text = await outcome.text!((_, plain) => plain);
  expect(outcome.exitCode).toBe(4);
  expect(text).toMatch(/1 of them fail$/);
  expect(text).toContain(report.failures[0]!.text);
});

it.each([
  [['--self', 'raid', '--profile', 'garbage-torn'], 1, /raid is not held to the profile garbage-torn/],
  [['--self', 'raid', 'a.trace'], 2, /only one can be explored/],
  [[], 2, /Give a trace .*, or --self LAYER/],
  [['--self', 'disk'], 2, /one of raid, metadata, extents, replication, snapshot/],
  [['--self', 'raid', '--check', 'true'], 2, /--check/],
  [['--self', 'raid', '--failures', 'found'], 2, /--failures/],
])('%j is refused', async (args, exitCode, message) => {
  const run = await runHoldfast(['crash', 'explore', ...args]);
  expect(run.exitCode).toBe(exitCode);
  expect(run.stderr.replaceAll('\n', ' ')).toMatch(message);
});
