/** Of what a cut has taken, as little is left as has to be for the failure: of volumes by the built-in check, of programs, and amid recoveries. */
import { spawnSync } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readTrace } from '../../src/crash/trace-file/trace-reader.js';
import { isInstalled } from '../nbd/client/servers.js';
import { recordedStore } from '../support/lab/recorded-store.js';
import { recordedVolume } from '../support/lab/recorded-volume.js';
import { savedTrace } from '../support/lab/saved-trace.js';
import { withoutBarriers } from '../support/lab/without-barriers.js';
import { ok, runHoldfast, runJson } from '../support/run-holdfast.js';

const LIMIT = { timeout: 180_000 };
const RAID = ['--members', '3', '--size', '2M', '--chunk', '16K'];
const SECTOR_KIND = 'a-sector-is-none-of-what-it-may-be.json';

interface Cut {
  readonly cut: number;
  readonly volatile: number;
  readonly losses: readonly { operation: number; device: string; role: string | null; offset: number }[];
}

interface Result extends Cut {
  readonly failure: string;
  readonly missing: string | null;
  readonly amidRecovery: Cut | null;
  readonly events: number;
  readonly eventsBefore: number;
  readonly failsStill: boolean;
  readonly isRepeatable: boolean;
}

async function explored(trace: string, ...flags: readonly string[]): Promise<string> {
  const found = `${trace}.found`;
  const { exitCode, stderr } = await runHoldfast(['crash', 'explore', trace, ...flags, '--failures', found]);
  expect([exitCode, stderr]).toEqual([4, '']);
  return found;
}

async function minimized(trace: string, failure: string, ...flags: readonly string[]) {
  const output = `${trace}.small`;
  const { json, exitCode } = await runJson([
    ...['crash', 'minimize', trace, '--failure', failure, '--output', output],
    ...flags,
  ]);
  expect([exitCode, json.error]).toEqual([0, undefined]);
  return { ...(json.result as unknown as Result), warnings: json.warnings };
}

describe.runIf(isInstalled('qemu-io'))('of a volume', () => {
  it('whose barriers are gone: the one write that was promised', LIMIT, async () => {
    const writes = ['write -P 1 8k 12k', 'flush', 'write -P 2 40k 24k', 'flush'];
    const { trace: path, folder } = await recordedVolume(RAID, writes);
    const sound = readTrace(path);
    const trace = await savedTrace(withoutBarriers(sound), join(folder, 'planted.trace'));
    sound.close();
    const found = await explored(trace, '--max-states', '1000', '--max-images-per-cut', '8');
    const before = JSON.parse(await readFile(join(found, SECTOR_KIND), 'utf8')) as { point: { dropped: [] } };
    expect(before.point.dropped.length).toBeGreaterThan(3);
    // As if it had been found without a member, which has nothing to do with it.
    const failure = join(folder, 'without.json');
    await writeFile(failure, JSON.stringify({ ...before, missing: 2 }));
    const result = await minimized(trace, failure);
    expect(result).toMatchObject({ missing: null, amidRecovery: null, failsStill: true, isRepeatable: true });
    const [lost, ...others] = result.losses;
    expect([others, lost!.role]).toEqual([[], 'data']);
    // The same trace has it, for all that takes a failure; the one write is what the page shows as lost.
    const state = join(folder, 'state');
    await ok('crash', 'replay', trace, '--failure', result.failure, '--output', state);
    const page = join(folder, 'page.html');
    await ok('crash', 'report', trace, '--failures', `${trace}.small`, '--html', page);
    expect((await readFile(page, 'utf8')).match(/<tr class="lost">/g)).toHaveLength(1);
    // The images say so themselves: without this write what was flushed is not there, and with it it is.
    const all = join(folder, 'all');
    await ok('crash', 'replay', trace, '--at-event', `${result.cut}`, '--keep', 'all', '--output', all);
    expect([await isThere(all), await isThere(state)]).toEqual([true, false]);
  });

  /** Whether the array holds what its client had flushed first. */
  async function isThere(state: string): Promise<boolean> {
    const images = [0, 1, 2].map((slot) => join(state, `${slot}-member-${slot}.img`));
    await ok('recover', ...images);
    const output = `${state}.read`;
    await ok('read', ...images, '--offset', '8KiB', '--length', '12KiB', '--output', output);
    return (await readFile(output)).every((byte) => byte === 1);
  }

  it('the write hole: a cut between data and parity, and nothing that is lost', LIMIT, async () => {
    const { trace } = await recordedVolume(RAID, ['write -P 1 8k 4k', 'flush']);
    const found = await explored(trace, '--assume-clean', '--max-states', '5000');
    const failure = join(found, 'what-nobody-wrote-has-changed.json');
    const result = await minimized(trace, failure, '--assume-clean');
    expect(result).toMatchObject({ losses: [], failsStill: true });
    expect(result.missing).toMatch(/member-1\.img$/);
    const read = readTrace(trace);
    // Of the two writes of the stripe the one is asked for by then, and the other is the next.
    const roles = [result.cut - 1, result.cut].map((at) => {
      const event = read.events[at]!;
      const name = event.kind === 'submit' ? read.devices[event.operation.device]!.name : event.kind;
      return name.slice(-12);
    });
    expect(roles.toSorted()).toEqual(['member-0.img', 'member-2.img']);
    read.close();
    const other = await runJson([
      'crash',
      'minimize',
      trace,
      '--failure',
      failure,
      '--output',
      `${trace}.no`,
    ]);
    expect([other.exitCode, other.json.error]).toMatchObject([1, { code: 'REFUSED' }]);
  });
});

/** Moves the letter to a copy and back, and does not make the copy durable before it takes the letter away. */
const RECOVER = `byte() { qemu-io -r -f raw -c "read -v $1 512" "$uri" | sed -n '1s/.*: *\\(..\\).*/\\1/p'; }
v=$(byte 0); c=$(byte 1536k)
if [ "$v" != 00 ]; then
  [ -e "$STOP" ] || qemu-io -t writeback -f raw -c 'write -q -P 7 1700k 4k' -c "write -q -P 0x$v 1536k 512" \\
    -c 'write -q -P 0 0 512' -c 'write -q -P 8 1800k 4k' -c flush -c "write -q -P 0x$v 0 512" -c flush "$uri"
elif [ "$c" != 00 ]; then qemu-io -t writeback -f raw -c "write -q -P 0x$c 0 512" -c flush "$uri"
fi`;

async function lostAmidRecovery(letters: string) {
  const { trace, check, folder } = await recordedStore({ letters });
  const recover = `STOP=${join(folder, 'stop')}\n${RECOVER}`;
  const commands = ['--recover', recover, '--check', check];
  const found = await explored(trace, ...commands, '--profile', 'atomic-write', '--max-states', '1500');
  const failure = join(found, 'check-exit-5.json');
  const { recovered } = JSON.parse(await readFile(failure, 'utf8')) as { recovered: object | null };
  expect(recovered).not.toBeNull();
  return { trace, folder, commands, check, failure };
}

describe.runIf(isInstalled('qemu-io'))('amid a recovery', () => {
  it('is made smaller: the events, and what the second cut has to lose', LIMIT, async () => {
    const { trace, folder, commands, check, failure } = await lostAmidRecovery('AB');
    const result = await minimized(trace, failure, ...commands);
    expect(result).toMatchObject({ failsStill: true, isRepeatable: true, losses: [] });
    expect(result.events).toBeLessThan(result.eventsBefore);
    // The copy of the letter alone is lost, of all that the recovery has written by then.
    expect(result.amidRecovery).toMatchObject({ losses: [{ offset: 1536 * 1024, length: 512 }] });
    const image = join(folder, 'image');
    const small = join(`${trace}.small`, 'minimal.trace');
    await ok('crash', 'replay', small, '--failure', result.failure, '--output', image);
    const { marks } = JSON.parse(await readFile(result.failure, 'utf8')) as { marks: string[] };
    expect(marks).toEqual(['A']);
    await writeFile(join(folder, 'marks'), 'A\n');
    const env = { ...process.env, image, marks: join(folder, 'marks') };
    expect(spawnSync(check, { shell: true, env }).status).toBe(5);
  });

  it(
    'that cannot be had again: what was recorded of it is made smaller, and that is told',
    LIMIT,
    async () => {
      const { trace, folder, commands, failure } = await lostAmidRecovery('A');
      await mkdir(join(folder, 'stop'));
      const result = await minimized(trace, failure, ...commands);
      expect(result).toMatchObject({ failsStill: true, isRepeatable: false });
      expect(result.events).toBe(result.eventsBefore);
      expect(result.amidRecovery).toMatchObject({ losses: [{ offset: 1536 * 1024 }] });
      expect(result.warnings).toEqual([expect.stringContaining('does something else each time')]);
    },
  );
});

it('a check that does not say the same each time is told', LIMIT, async () => {
  const { trace, check, folder } = await recordedStore({ letters: 'A', flushesBlocks: false });
  const found = await explored(trace, '--check', check, '--profile', 'atomic-write');
  const failure = join(found, 'check-exit-3.json');
  const count = join(folder, 'count');
  const counted = `echo >> '${count}'; ${check}`;
  expect((await minimized(trace, failure, '--check', counted)).failsStill).toBe(true);
  const runs = (await readFile(count, 'utf8')).length;
  await rm(count);
  await rm(`${trace}.small`, { recursive: true });
  // The same, but for the last time.
  const fickle = `echo >> '${count}'; [ $(wc -l < '${count}') = ${runs} ] || ${check}`;
  const result = await minimized(trace, failure, '--check', fickle);
  expect(result.failsStill).toBe(false);
  expect(result.warnings).toEqual([expect.stringContaining('does not fail any more')]);
});

it('when the time is over what there is by then is the outcome; what cannot be is told', LIMIT, async () => {
  const { trace, check, folder } = await recordedStore({ letters: 'AB', flushesBlocks: false });
  const failure = join(
    await explored(trace, '--check', check, '--profile', 'atomic-write'),
    'check-exit-3.json',
  );
  const late = await minimized(trace, failure, '--check', `sleep 1; ${check}`, '--max-seconds', '1');
  expect(late).toMatchObject({ isCutShort: true, failsStill: true });
  expect(late.warnings).toEqual([expect.stringContaining('the time was over')]);
  const file = ['crash', 'minimize', trace, '--failure', failure, '--output', join(folder, 'no')];
  for (const [flags, code] of [
    [[], 'UNSUPPORTED'],
    [['--assume-clean'], 'UNSUPPORTED'],
    [['--assume-clean', '--check', check], 'USAGE'],
    [['--recover', 'true'], 'USAGE'],
    [['--check-seconds', '5'], 'USAGE'],
  ] as const) {
    const { json } = await runJson([...file, ...flags]);
    expect([flags, json.error?.code]).toEqual([flags, code]);
  }
});
