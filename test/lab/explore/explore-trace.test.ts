/** A recorded store is explored by its check: the good one holds, each missing flush is found, and what is found can be had again. */
import { spawnSync } from 'node:child_process';
import { readdir, readFile, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readTrace } from '../../../src/crash/trace-file/trace-reader.js';
import { type ExploreTraceOptions, exploreTrace } from '../../../src/lab/explore/explore-trace.js';
import { contentsOf, readFailure, saveFailure } from '../../../src/lab/explore/failure-file.js';
import { putOnImages } from '../../../src/lab/explore/replay.js';
import { recordedStore, type Store } from '../../support/lab/recorded-store.js';

async function exploreStore(store: Store, options: Partial<ExploreTraceOptions> = {}) {
  const { folder, trace: path, check } = await recordedStore(store);
  const trace = readTrace(path);
  const explored = await exploreTrace(trace, {
    ...{ check, recover: null, seed: 1, profile: 'atomic-write', workers: 2, limitMs: 20_000 },
    ...{ directory: folder, signal: new AbortController().signal },
    onFault: (error) => {
      throw error;
    },
    ...options,
  });
  // Nothing is left of the run.
  expect((await readdir(folder)).sort()).toEqual(['check.sh', 'disk.trace']);
  return { ...explored, folder, trace, path, check };
}

it('a store that flushes all is found good, at every cut', async () => {
  const { report, checkRuns, writingRuns, trace } = await exploreStore({ letters: 'ABC' });
  expect(report.failures).toEqual([]);
  expect(report).toMatchObject({ stoppedBy: null, isExhaustive: true });
  expect([report.images > 20, writingRuns]).toEqual([true, 0]);
  // Once for each image, but for those that are come to with another number of marks; and once for the whole.
  expect(checkRuns).toBeGreaterThan(report.images);
  expect(checkRuns).toBeLessThan(report.checks);
  trace.close();
});

it('a letter that counts before its blocks are durable is found, as small as can be, and can be had again', async () => {
  const { report, folder, trace, path, check } = await exploreStore({ letters: 'ABC', flushesBlocks: false });
  expect(report.failures).toHaveLength(1);
  const failure = report.failures[0]!;
  expect(failure).toMatchObject({
    invariant: 'check exit 3',
    output: expect.stringMatching(/^letter . is torn\n$/),
  });
  // The letter alone.
  expect([failure.point.kept.length, failure.point.torn.length]).toEqual([1, 0]);
  expect(report.breaches).toEqual({ 'check exit 3': expect.any(Number) });
  const file = await saveFailure(join(folder, 'found'), failure, { trace, path });
  const contents = contentsOf(await readFailure(file, trace), trace, file);
  const {
    images: [image],
  } = await putOnImages(contents, trace, { output: join(folder, 'failing.img'), missing: null });
  const again = spawnSync(check, { shell: true, env: { ...process.env, image, marks: '/dev/null' } });
  expect([again.status, String(again.stdout)]).toEqual([3, failure.output]);
  trace.close();
});

it('a letter that is said to be there and is not durable is found by its mark alone', async () => {
  const { report, trace } = await exploreStore({ letters: 'AB', flushesLetter: false }, { maxFailures: 9 });
  expect(report.failures.map(({ invariant }) => invariant)).toEqual(['check exit 5']);
  expect(report.failures[0]!.output).toMatch(/^. is lost\n$/);
  trace.close();
});

it('however many checks run at once, the same is found and counted', async () => {
  const run = async (workers: number) => {
    const { report, checkRuns, trace } = await exploreStore(
      { letters: 'AB', flushesBlocks: false },
      { workers, profile: 'sector-4096', maxFailures: 9, maxImagesPerCut: 20 },
    );
    trace.close();
    const { seconds, ...counts } = report;
    return { ...counts, checkRuns };
  };
  const alone = await run(1);
  expect(alone.failures).toHaveLength(1);
  expect(await run(5)).toEqual(alone);
});

it('what a check writes to its disk, by either way, is seen and is of no effect on others', async () => {
  for (const writes of [
    'printf X | dd of="$image" bs=1 conv=notrunc seek=100 2>/dev/null',
    'truncate -s 1M "$image"',
    'rm "$image"',
    'qemu-io -f raw -c "write -q -P 88 0 4096" "$uri" >/dev/null',
  ]) {
    const { check } = await recordedStore({ letters: 'A' });
    const { report, checkRuns, writingRuns, trace } = await exploreStore(
      { letters: 'AB' },
      { check: `${check} && ${writes}`, maxImages: 12 },
    );
    expect([report.failures, writingRuns], writes).toEqual([[], checkRuns]);
    trace.close();
  }
});

it('the disk is at $uri too, and each state as it is', async () => {
  const check =
    'test "$(qemu-io -r -f raw -c "read -v 0 512" "$uri" | sed -n "1s/.*: *\\(..\\).*/\\1/p")" = "$(head -c 1 "$image" | od -An -tx1 | tr -d " ")"';
  const { report, trace } = await exploreStore({ letters: 'AB' }, { check, maxImages: 12 });
  expect(report.failures).toEqual([]);
  trace.close();
});

it('a check that does not end is ended, with all that it has begun, and is a kind of its own', async () => {
  const began = performance.now();
  const check =
    'test -z "$(tail -n 1 "$marks")" || test "$(tail -n 1 "$marks")" = B || { sleep 600 & sleep 600; }';
  const { report, trace } = await exploreStore({ letters: 'AB' }, { check, limitMs: 300 });
  expect(report.failures).toMatchObject([{ invariant: 'check hung' }]);
  expect(performance.now() - began).toBeLessThan(60_000);
  trace.close();
});

it('a check that fails with the disk as it was at the end says nothing of cuts', async () => {
  await expect(exploreStore({ letters: 'A' }, { check: 'echo none of it; exit 1' })).rejects.toMatchObject({
    code: 'USAGE',
    message: expect.stringContaining('no power cut'),
    details: { output: 'none of it\n' },
  });
});

it('a recovery runs before the check, and is cut too', async () => {
  // The letter is written anew elsewhere, and the first place is emptied without that being durable.
  const recover = `v=$(qemu-io -r -f raw -c 'read -v 0 512' "$uri" | sed -n '1s/.*: *\\(..\\).*/\\1/p')
test "$v" = 00 || qemu-io -t writeback -f raw -c "write -q -P 0x$v 512 512" -c 'write -q -P 0 0 512' "$uri"`;
  const check =
    'a=$(head -c 1 "$image" | tr -d "\\0"); b=$(tail -c +513 "$image" | head -c 1 | tr -d "\\0"); owed=$(tail -n 1 "$marks"); test -z "$owed" || test -n "$a$b"';
  const { report, folder, trace, path } = await exploreStore(
    { letters: 'A' },
    { recover, check, maxImagesPerCut: 6 },
  );
  expect(report.failures).toHaveLength(1);
  const failure = report.failures[0]!;
  expect(failure.recovered).not.toBeNull();
  const file = await saveFailure(join(folder, 'found'), failure, { trace, path });
  const contents = contentsOf(await readFailure(file, trace), trace, file);
  const {
    images: [image],
  } = await putOnImages(contents, trace, { output: join(folder, 'failing.img'), missing: null });
  expect((await readFile(image!)).subarray(0, 1024).every((byte) => byte === 0)).toBe(true);
  trace.close();
});

it('of a trace that was cut what is whole is explored', async () => {
  const store = { letters: 'ABC', flushesBlocks: false, isSlow: true };
  const { trace: path, check, folder } = await recordedStore(store);
  const whole = readTrace(path);
  await truncate(path, (await readFile(path)).length - 100);
  const trace = readTrace(path);
  expect(trace.damage).not.toBeNull();
  expect(trace.events.length).toBeLessThan(whole.events.length);
  const options = {
    check,
    recover: null,
    seed: 1,
    workers: 2,
    limitMs: 20_000,
    directory: folder,
    onFault: () => {},
  };
  const { report } = await exploreTrace(trace, { ...options, signal: new AbortController().signal });
  expect(report.failures).toMatchObject([{ invariant: 'check exit 3' }]);
  for (const one of [whole, trace]) one.close();
});
