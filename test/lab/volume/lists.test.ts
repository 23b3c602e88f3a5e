/**
 * Volumes whose lists are replaced while they are recorded, those of snapshots and replicas: a cut leaves the old or the new one, a snapshot
 * that was there before holds what it held, and a container whose barriers are gone is found by it.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readTrace } from '../../../src/crash/trace-file/trace-reader.js';
import { exploreVolume } from '../../../src/lab/volume/explore-volume.js';
import { notWarned } from '../../support/lab/not-warned.js';
import { recordedVolume } from '../../support/lab/recorded-volume.js';
import { withoutBarriers } from '../../support/lab/without-barriers.js';
import { ok, runJson } from '../../support/run-holdfast.js';
import { temporaryFolder } from '../../support/temporary-folder.js';

const LIMIT = { timeout: 120_000 };
const RAID = ['--members', '3', '--size', '2M', '--chunk', '16K'];
const WRITES = [
  'write -P 1 8k 12k',
  'flush',
  'write -P 2 0 24k',
  'write -P 3 700k 1k',
  'flush',
  'write -P 4 12k 4k',
  'flush',
];

/** Filled, and with a snapshot of that. */
async function withSnapshot() {
  const before = async (volume: string): Promise<void> => {
    const input = `${volume}.data`;
    await writeFile(input, Buffer.alloc(1024 * 1024, 0x55));
    await ok('write', volume, '--offset', '0', '--input', input);
    await ok('snapshot', 'create', volume, '--name', 'before');
  };
  return recordedVolume(RAID, WRITES, before);
}

async function explore(trace: ReturnType<typeof readTrace>, maxStates: number) {
  const directory = await temporaryFolder();
  const signal = new AbortController().signal;
  const limits = { maxStates, maxImagesPerCut: 16, maxFailures: 9 };
  return exploreVolume(trace, { seed: 1, directory, signal, ...limits, warn: notWarned });
}

describe('a volume with a snapshot', () => {
  it('holds, and so does the snapshot; its list is one of the versions that there were', LIMIT, async () => {
    const { trace: path, folder } = await withSnapshot();
    const trace = readTrace(path);
    const at = trace.devices.findIndex(({ name }) => name.endsWith('snapshots.json'));
    // As it was, said to be open, and closed again.
    const isOpen = trace.devices[at]!.versions!.map((version) =>
      /"isOpen": true/.test(Buffer.from(version!).toString()),
    );
    expect([isOpen[0], isOpen[1], isOpen.at(-1)]).toEqual([false, true, false]);
    const report = await explore(trace, 3000);
    expect([report.failures, report.states]).toEqual([[], 3000]);
    const put = async (event: number) => {
      const output = join(folder, `cut-${event}`);
      await ok('crash', 'replay', path, '--at-event', `${event}`, '--output', output);
      const name = (await readdir(output)).find((each) => each.endsWith('snapshots.json'))!;
      return JSON.parse(await readFile(join(output, name), 'utf8')) as { isOpen: boolean };
    };
    const replaced = trace.events.flatMap((event, event0) =>
      event.kind === 'complete' && event.operation.device === at ? [event0] : [],
    );
    expect(replaced).toHaveLength(isOpen.length - 1);
    const found = [];
    for (const event of [replaced[0]!, replaced[0]! + 1, trace.events.length])
      found.push((await put(event)).isOpen);
    expect(found).toEqual([false, true, false]);
    trace.close();
  });

  it('shows commands its list as a file, and no disk of it', LIMIT, async () => {
    const { trace } = await withSnapshot();
    const check = `for list in $lists; do grep -q '"isOpen"' "$list" || exit 9; done
case "$images" in *json*) exit 8;; esac
set -- $uris; [ $# = 4 ] || exit 7; set -- $images; [ $# = 4 ] || exit 6; [ -n "$lists" ] || exit 5`;
    const flags = ['--check', check, '--max-states', '60', '--max-images-per-cut', '4'];
    const { exitCode, json } = await runJson(['crash', 'explore', trace, ...flags]);
    expect([exitCode, json.error, json.result]).toEqual([
      0,
      undefined,
      expect.objectContaining({ failures: [], states: 60 }),
    ]);
  });

  it('is found to lose what it held where nothing is durable when it is said to be', LIMIT, async () => {
    const { trace } = await withSnapshot();
    const { failures } = await explore(
      withoutBarriers(readTrace(trace), (name) => name.endsWith('.kept')),
      3000,
    );
    expect(failures.map(({ invariant }) => invariant)).toContain('a snapshot has changed');
  });
});

describe('a volume with a replica', () => {
  const withReplica = () =>
    recordedVolume(RAID, WRITES, async (volume) => {
      await ok('replica', 'add', volume, '--to', `${volume}.second.img`, '--name', 'second');
      await ok('replica', 'sync', volume);
    });

  it('holds, and the replica holds the same when what was dirty is copied', LIMIT, async () => {
    const { trace } = await withReplica();
    const { exitCode, json } = await runJson(['crash', 'explore', trace, '--max-states', '2000']);
    expect([exitCode, json.error, json.result]).toEqual([
      0,
      undefined,
      expect.objectContaining({ failures: [], states: 2000 }),
    ]);
    const read = readTrace(trace);
    const names = read.devices.map(({ name }) => name.split('/').at(-1));
    expect(names).toEqual(
      expect.arrayContaining(['transactions', 'second.dirty', 'v.second.img', 'replicas.json']),
    );
    read.close();
  });

  it('is found to say in sync of what differs where what is dirty is not durable', LIMIT, async () => {
    const { trace } = await withReplica();
    const isRecord = (name: string) => name.endsWith('.dirty') || name.endsWith('transactions');
    const { failures } = await explore(withoutBarriers(readTrace(trace), isRecord), 6000);
    expect(failures.map(({ invariant }) => invariant)).toContain('a replica in sync differs');
  });
});
