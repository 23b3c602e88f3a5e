/**
 * Failures of the built-in check amid a volume's own recovery. Those of the product are right, so one has a write put into it that nobody asked
 * for: the explorer finds it amid the recovery alone, and what is kept of it is made smaller by the same recovery, done again.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { explore } from '../../src/crash/explorer.js';
import { contentsAt, type StatePoint } from '../../src/crash/explorer-failure.js';
import type { Subject } from '../../src/crash/explorer-subject.js';
import { PROFILES } from '../../src/crash/profiles.js';
import { StateDevice } from '../../src/crash/state-device.js';
import { CutWalk } from '../../src/crash/states.js';
import type { Operation, Trace, TraceEvent } from '../../src/crash/trace.js';
import { readTrace, type StoredTrace } from '../../src/crash/trace-file/trace-reader.js';
import { profileOf, readFailure, saveFailure } from '../../src/lab/explore/failure-file.js';
import { failingOf, failureOf } from '../../src/lab/minimize/as-failure.js';
import {
  type Failing,
  FailingState,
  type FailingStateOptions,
} from '../../src/lab/minimize/failing-state.js';
import { lossesOf } from '../../src/lab/minimize/fewest-losses.js';
import { withVolume } from '../../src/lab/volume/explore-volume.js';
import { isInstalled } from '../nbd/client/servers.js';
import { recordedVolume } from '../support/lab/recorded-volume.js';
import { withoutBarriers } from '../support/lab/without-barriers.js';
import { ok, runJson } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const LIMIT = { timeout: 180_000 };
const RAID = ['--members', '3', '--size', '2M', '--chunk', '16K'];
const WRITES = ['write -P 1 8k 12k', 'flush', 'write -P 2 0 24k', 'flush'];
/** On a member, in a row that clients write, where they do not. */
const NOISE_NUMBER = 1;
const NOISE = { offset: (1024 + 12) * 1024, length: 512 };

/** What it did, and behind its first operation a write that spoils what nobody wrote. */
function spoilt({ devices, events }: Trace): Trace {
  const [first, ...rest] = events;
  if (first?.kind !== 'submit') return { devices, events };
  const device = devices.findIndex(({ name }) => name.endsWith('member-1.img'));
  const bytes = new Uint8Array(NOISE.length).fill(0xee);
  const operation = { number: NOISE_NUMBER, device, kind: 'write', ...NOISE, bytes, fua: false } as const;
  const later = new Map<Operation, Operation>([[first.operation, first.operation]]);
  const renumbered = rest.map((event): TraceEvent => {
    if (event.kind === 'mark') return event;
    const { kind, operation: old } = event;
    if (!later.has(old)) later.set(old, { ...old, number: old.number + 1 });
    return { kind, operation: later.get(old)! };
  });
  const noise = [{ kind: 'submit', operation } as const, { kind: 'complete', operation } as const];
  return { devices, events: [first, ...noise, ...renumbered] };
}

function clumsy<Reading>(subject: Subject<Reading, number>): Subject<Reading, number> {
  return {
    ...{ trace: subject.trace, initial: subject.initial, losesMembers: false },
    isPromise: () => false,
    obligations: (cut) => subject.obligations(cut),
    check: (reading, told, state) => subject.check(reading, told, state),
    evaluate: async (state) => {
      const { reading, recovery } = await subject.evaluate(state);
      return { reading, recovery: recovery && spoilt(recovery) };
    },
  };
}

/** With a snapshot, so that its recovery replaces a list. */
async function recordedWithSnapshot() {
  return recordedVolume(RAID, WRITES, async (volume) => {
    const input = `${volume}.data`;
    await writeFile(input, Buffer.alloc(1024 * 1024, 0x55));
    await ok('write', volume, '--offset', '0', '--input', input);
    await ok('snapshot', 'create', volume, '--name', 'before');
  });
}

/** The explorer's own failure, and the file of it. */
async function found(trace: StoredTrace, path: string, subject: Subject<unknown, number>) {
  const report = await explore(clumsy(subject), { seed: 1, maxStates: 3000, maxImagesPerCut: 16 });
  const [failure] = report.failures;
  expect(failure?.recovered).toMatchObject({ point: {} });
  return saveFailure(join(path, '..', 'found'), failure!, { trace, path });
}

/** Of the same kind: all is lost that both cuts may lose, but for what is at fault. */
async function withMuchLost(
  subject: Subject<unknown, number>,
  found: Omit<Failing, 'breach'>,
  options: FailingStateOptions,
): Promise<FailingState<unknown, number>> {
  const { trace, initial } = subject;
  const walk = new CutWalk(trace, initial, options.profile);
  for (let cut = 0; cut <= trace.events.length; cut++) {
    walk.advance(cut);
    const point = allLost(walk, []);
    if (point.dropped.length < 2) continue;
    const contents = contentsAt(trace, initial, options.profile, point);
    const devices = () => contents.map((content, at) => new StateDevice(content.fork(), trace.devices[at]!));
    const { recovery } = await subject.evaluate({ missing: null, isSecondCut: false, devices });
    if (recovery === null || recovery.events.length < 10) continue;
    const second = new CutWalk(recovery, contents, options.profile);
    // The first operation, behind which it comes, is not answered yet.
    second.advance(3);
    const amid = { trace: recovery, point: allLost(second, [NOISE_NUMBER]), missing: null };
    if (amid.point.dropped.length === 0) continue;
    // Where nothing lists the row, it is wrong in another way.
    const state = await FailingState.of(subject, { ...found, point, amid }, options).catch(() => null);
    if (state !== null) return state;
  }
  throw new Error('no cut has so much to lose');
}

function allLost({ cut, volatile }: CutWalk, but: readonly number[]): StatePoint {
  const numbers = volatile.map(({ operation }) => operation.number);
  const kept = numbers.filter((number) => but.includes(number));
  return { cut, kept, dropped: numbers.filter((number) => !but.includes(number)), torn: [] };
}

describe.runIf(isInstalled('qemu-io'))('amid the recovery of a volume', () => {
  it('the write that is at fault is there, nothing is lost, and both cuts are early', LIMIT, async () => {
    const { trace: path, folder } = await recordedWithSnapshot();
    const trace = readTrace(path);
    const signal = new AbortController().signal;
    const directory = await temporaryFolder();
    await withVolume(trace, { directory, warn: () => undefined }, async ({ subject }) => {
      const file = await found(trace, path, subject as Subject<unknown, number>);
      const failure = await readFailure(file, trace);
      const options = { profile: profileOf(failure), kind: failure.kind, signal };
      const clumsily = clumsy(subject as Subject<unknown, number>);
      const state = await withMuchLost(clumsily, failingOf(failure, trace, file), options);
      await state.makeFewest(clumsily, () => false);
      const { point, amid, missing } = state.now;
      expect([state.isRepeatable, lossesOf(point), lossesOf(amid!.point), missing]).toEqual([
        true,
        [],
        [],
        null,
      ]);
      const last = amid!.trace.events[amid!.point.cut - 1]!;
      expect(last).toMatchObject({ kind: 'submit', operation: NOISE });

      const small = await saveFailure(join(folder, 'small'), failureOf(failure, state.now), { trace, path });
      await bothCanBeHad([file, small]);
    });
    trace.close();

    /** Also where the list is one that the recovery has made. */
    async function bothCanBeHad(files: readonly string[]): Promise<void> {
      for (const [at, failure] of files.entries()) {
        const output = join(folder, `state-${at}`);
        await ok('crash', 'replay', path, '--failure', failure, '--output', output);
        const names = await readdir(output);
        const read = (end: string) => readFile(join(output, names.find((name) => name.endsWith(end))!));
        expect(JSON.parse((await read('snapshots.json')).toString())).toHaveProperty('isOpen');
        const member = await read('member-1.img');
        expect(
          member.subarray(NOISE.offset, NOISE.offset + NOISE.length).every((byte) => byte === 0xee),
        ).toBe(true);
      }
    }
  });

  it('that needs no second cut is one of the first', LIMIT, async () => {
    const sound = readTrace((await recordedVolume(RAID, WRITES)).trace);
    const trace = withoutBarriers(sound);
    const directory = await temporaryFolder();
    await withVolume(trace, { directory, warn: () => undefined }, async ({ subject: one }) => {
      const subject: Subject<unknown, number> = one as Subject<unknown, number>;
      const { failures } = await explore(subject, { seed: 1, maxStates: 1000, maxImagesPerCut: 8 });
      const [{ invariant: kind, point }] = failures as [(typeof failures)[0]];
      const nothing = { cut: 0, kept: [], dropped: [], torn: [] };
      const amid = { trace: { devices: trace.devices, events: [] }, point: nothing, missing: null };
      const options = { profile: PROFILES['sector-512'], kind, signal: new AbortController().signal };
      const state = await FailingState.of(subject, { point, amid, missing: null }, options);
      await state.makeFewest(subject, () => false);
      expect([state.now.amid, lossesOf(state.now.point).length]).toEqual([null, 1]);
    });
    sound.close();
  });

  it('what the volume does not do again is made smaller by what was recorded of it', LIMIT, async () => {
    const { trace: path, folder } = await recordedVolume(RAID, WRITES);
    const trace = readTrace(path);
    const directory = await temporaryFolder();
    const file = await withVolume(trace, { directory, warn: () => undefined }, ({ subject }) =>
      found(trace, path, subject as Subject<unknown, number>),
    );
    trace.close();
    const flags = ['--failure', file, '--output', join(folder, 'small')];
    const { exitCode, json } = await runJson(['crash', 'minimize', path, ...flags]);
    expect([exitCode, json.result]).toMatchObject([
      0,
      { isRepeatable: false, failsStill: true, amidRecovery: { losses: [] } },
    ]);
    expect(json.warnings).toEqual([expect.stringContaining('does something else each time')]);
    const { recovered } = JSON.parse(await readFile(file, 'utf8')) as {
      recovered: { point: { cut: number } };
    };
    expect((json.result as { cut: number }).cut).toBe(recovered.point.cut);
  });
});
