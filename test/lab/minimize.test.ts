/** A failure is made as small as it can be, and is a failure still. */
import { spawnSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readTrace } from '../../src/crash/trace-file/trace-reader.js';
import { BLOCKS_BYTES, recordedStore } from '../support/lab/recorded-store.js';
import { ok, runHoldfast, runJson } from '../support/run-holdfast.js';

async function found(letters: string, broken: 'flushesBlocks' | 'flushesLetter') {
  const store = await recordedStore({ letters, [broken]: false });
  const failures = join(store.folder, 'found');
  const { exitCode } = await runHoldfast([
    ...['crash', 'explore', store.trace, '--check', store.check],
    ...['--profile', 'atomic-write', '--failures', failures],
  ]);
  expect(exitCode).toBe(4);
  const kind = broken === 'flushesBlocks' ? 3 : 5;
  return {
    ...store,
    failure: join(failures, `check-exit-${kind}.json`),
    small: join(store.folder, 'small'),
    kind,
  };
}

it.each([
  ['flushesBlocks', 0],
  // That it was said to be there.
  ['flushesLetter', 1],
] as const)('of a store that does without %s', async (broken, wantedMarks) => {
  const { trace, check, failure, small, kind, folder } = await found('ABC', broken);
  const flags = ['--failure', failure, '--check', check, '--output', small];
  const result = await ok('crash', 'minimize', trace, ...flags);
  expect(result).toMatchObject({ trace: join(small, 'minimal.trace'), isCutShort: false, failsStill: true });
  // One block of three is enough, or the letter.
  expect(result.losses).toHaveLength(1);
  const minimal = readTrace(join(small, 'minimal.trace'));
  const events = minimal.events.flatMap((event) =>
    event.kind === 'mark' ? ['mark'] : event.kind === 'submit' ? [`submit ${event.operation.kind}`] : [],
  );
  minimal.close();
  // A letter and its three blocks, which have to be there for the check to hold uncut; all that was done for other letters is gone.
  const count = (what: string) => events.filter((each) => each === what).length;
  expect([count('submit write'), count('mark')]).toEqual([4, wantedMarks]);
  expect(events.length).toBeLessThanOrEqual(6);
  // It is a trace and a failure as any other.
  const image = join(folder, 'image');
  const file = join(small, `check-exit-${kind}.json`);
  await ok('crash', 'replay', join(small, 'minimal.trace'), '--failure', file, '--output', image);
  const { marks } = JSON.parse(await readFile(file, 'utf8')) as { marks: string[] };
  await writeFile(join(folder, 'marks'), marks.map((mark) => `${mark}\n`).join(''));
  const env = { ...process.env, image, marks: join(folder, 'marks') };
  expect(spawnSync(check, { shell: true, env }).status).toBe(kind);
  const again = await runHoldfast([
    ...['crash', 'explore', join(small, 'minimal.trace'), '--check', check, '--profile', 'atomic-write'],
  ]);
  expect(again.exitCode).toBe(4);
});

it('another check than the one that has found it is told so', async () => {
  const { trace, failure, small } = await found('AB', 'flushesBlocks');
  for (const check of ['true', 'exit 1']) {
    const flags = ['--failure', failure, '--check', check, '--output', small];
    const { exitCode, json } = await runJson(['crash', 'minimize', trace, ...flags]);
    expect([exitCode, json.error]).toMatchObject([1, { code: 'REFUSED' }]);
  }
});

it('what a recovery leaves is made smaller with that recovery, and a folder that has one already is told at once', async () => {
  const { trace, folder } = await recordedStore({ letters: 'AB' });
  const [failures, small] = [join(folder, 'found'), join(folder, 'small')];
  // Takes the first letter, which was said to be there, away again where there is something of the second.
  const recover = `byte() { qemu-io -r -f raw -c "read -v $1 512" "$uri" | sed -n '1s/.*: *\\(..\\).*/\\1/p'; }
test "$(byte 0)$(byte ${BLOCKS_BYTES * 0x42})" != 4142 || qemu-io -t writeback -f raw -c 'write -q -P 0 0 512' "$uri"`;
  const check = 'test -n "$(head -c 1 "$image" | tr -d "\\0")" || ! grep -q A "$marks" || exit 6';
  const commands = ['--recover', recover, '--check', check];
  const explored = await runHoldfast([
    ...['crash', 'explore', trace, ...commands],
    ...['--max-states', '300', '--failures', failures],
  ]);
  expect(explored.exitCode).toBe(4);
  const flags = ['--failure', join(failures, 'check-exit-6.json'), '--output', small];
  const without = await runJson(['crash', 'minimize', trace, '--check', check, ...flags]);
  expect([without.exitCode, without.json.error]).toMatchObject([1, { code: 'REFUSED' }]);
  const result = await ok('crash', 'minimize', trace, ...commands, ...flags);
  expect(result.events as number).toBeLessThan(result.eventsBefore as number);
  const again = await runJson(['crash', 'minimize', trace, ...commands, ...flags]);
  expect([again.exitCode, again.json.error]).toMatchObject([1, { code: 'FILE_EXISTS' }]);
});
