/** `crash explore` and `crash replay` as users and scripts run them. */
import { readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { recordedStore } from '../../support/lab/recorded-store.js';
import { ok, runHoldfast, runJson } from '../../support/run-holdfast.js';

interface Explored {
  readonly states: number;
  readonly isExhaustive: boolean;
  readonly checkRuns: number;
  readonly breaches: Readonly<Record<string, number>>;
  readonly failures: readonly {
    readonly kind: string;
    readonly file: string | null;
    readonly output: string;
  }[];
}

const PROFILE = ['--profile', 'atomic-write'];

it('ends with 0 where all holds, and leaves nothing behind', async () => {
  const { trace, check, folder } = await recordedStore({ letters: 'AB' });
  const { json, exitCode } = await runJson([
    ...['crash', 'explore', trace, '--check', check, ...PROFILE, '--directory', folder],
  ]);
  const result = json.result as unknown as Explored;
  expect([exitCode, result.failures, result.isExhaustive]).toEqual([0, [], true]);
  expect(result.checkRuns).toBeGreaterThan(10);
  expect((await readdir(folder)).sort()).toEqual(['check.sh', 'disk.trace']);
});

it('ends with 4 where a state fails, keeps it, and says how to have it', async () => {
  const { trace, check, folder } = await recordedStore({ letters: 'AB', flushesBlocks: false });
  const found = join(folder, 'found');
  const flags = ['--check', check, ...PROFILE, '--failures', found];
  const { exitCode, stdout } = await runHoldfast(['crash', 'explore', trace, ...flags]);
  expect(exitCode).toBe(4);
  expect(stdout).toContain('check exit 3: the check command ended with exit code 3: letter');
  const file = join(found, 'check-exit-3.json');
  expect(stdout).toContain(`crash replay ${trace} --failure ${file}`);
  const image = join(folder, 'failing.img');
  await ok('crash', 'replay', trace, '--failure', file, '--output', image);
  expect((await stat(image)).size).toBe(2 * 1024 * 1024);
  // The same once more is not kept twice, and what was found before stays.
  const again = await runHoldfast(['crash', 'explore', trace, ...flags]);
  expect([again.exitCode, again.stdout]).toEqual([4, expect.stringContaining(`--failure ${file}`)]);
  const before = await readFile(file);
  const others = await runHoldfast(['crash', 'explore', trace, ...flags, '--seed', '77']);
  const second = join(found, 'check-exit-3.2.json');
  expect([others.exitCode, others.stdout]).toEqual([4, expect.stringContaining(`--failure ${second}`)]);
  expect(before.equals(await readFile(file))).toBe(true);
  expect((await readdir(found)).sort()).toEqual(['check-exit-3.2.json', 'check-exit-3.json', 'summary.json']);
  const other = await recordedStore({ letters: 'A' });
  const refused = await runJson([
    'crash',
    'replay',
    other.trace,
    '--failure',
    file,
    '--output',
    `${image}.2`,
  ]);
  expect([refused.exitCode, refused.json.error]).toMatchObject([1, { code: 'REFUSED' }]);
  const gone = `${file}.gone`;
  const unknown = await runJson(['crash', 'replay', other.trace, '--failure', gone, '--output', image]);
  expect([unknown.exitCode, unknown.json.error]).toMatchObject([10, { code: 'FILE_NOT_FOUND' }]);
});

it('has any cut as an image', async () => {
  const { trace, folder } = await recordedStore({ letters: 'AB' });
  const at = async (name: string, ...flags: string[]) => {
    await ok('crash', 'replay', trace, '--output', join(folder, name), ...flags);
    return readFile(join(folder, name));
  };
  // Three writes were submitted, and none was flushed.
  const [none, all, some] = [
    await at('none', '--at-event', '3'),
    await at('all', '--at-event', '3', '--keep', 'all'),
    await at('some', '--at-event', '3', '--keep', '0,2'),
  ];
  const blocks = (image: Buffer) => [0, 1, 2].map((block) => image[65 * 3 * 4096 + block * 4096]);
  expect([none, all, some].map(blocks)).toEqual([
    [0, 0, 0],
    [65, 65, 65],
    [65, 0, 65],
  ]);
  expect((await at('end'))[0]).toBe(66);
  for (const [flags, why] of [
    [['--at-event', '9999'], 'there is no event 9999'],
    [['--at-event', '3', '--keep', '7'], 'operation 7 is not volatile'],
    [['--keep', 'x'], 'neither all nor none'],
  ] as const) {
    const { exitCode, stderr } = await runHoldfast([
      ...['crash', 'replay', trace, '--output', join(folder, 'no'), ...flags],
    ]);
    expect([exitCode === 0, stderr]).toEqual([false, expect.stringContaining(why)]);
  }
});

it('says what is wrong with its input', async () => {
  const { trace, check, folder } = await recordedStore({ letters: 'AB' });
  const none = await runJson(['crash', 'explore', join(folder, 'none'), '--check', check]);
  expect([none.exitCode, none.json.error]).toMatchObject([10, { code: 'FILE_NOT_FOUND' }]);
  await writeFile(join(folder, 'text'), 'no trace '.repeat(100));
  const text = await runJson(['crash', 'explore', join(folder, 'text'), '--check', check]);
  expect([text.exitCode, text.json.error]).toMatchObject([1, { code: 'METADATA_DAMAGED' }]);
  const wrong = await runJson(['crash', 'explore', trace, '--check', 'exit 1']);
  expect([wrong.exitCode, wrong.json.error]).toMatchObject([2, { code: 'USAGE' }]);
  // There is none to wait for.
  const patient = await runJson(['crash', 'explore', trace, '--check-seconds', '5']);
  expect([patient.exitCode, patient.json.error]).toMatchObject([
    2,
    { code: 'USAGE', message: expect.stringMatching(/--check-seconds.*--check\b/) },
  ]);
  await truncate(trace, (await stat(trace)).size - 1);
  const cut = await runHoldfast(['crash', 'explore', trace, '--check', 'true']);
  expect([cut.exitCode, cut.stderr]).toEqual([0, expect.stringContaining('a frame is cut short')]);
});

it('a budget that is hit is no exhaustive run, and Ctrl-C ends all', async () => {
  const { trace, check, folder } = await recordedStore({ letters: 'ABCD' });
  const { json } = await runJson(['crash', 'explore', trace, '--check', check, '--max-states', '30']);
  expect(json.result).toMatchObject({ states: 30, stoppedBy: 'states', isExhaustive: false });
  const interrupted = await runHoldfast(
    ['crash', 'explore', trace, '--check', 'test -s "$marks" || exit 0; sleep 0.2', '--directory', folder],
    { onStart: (child) => setTimeout(() => child.kill('SIGINT'), 2000) },
  );
  expect(interrupted.exitCode).toBe(130);
  expect((await readdir(folder)).sort()).toEqual(['check.sh', 'disk.trace']);
});
