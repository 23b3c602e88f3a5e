/**
 * The bench of served volumes, small: every server that is installed is measured by the same client, and what is not
 * here is left out and said. Speeds are not looked at.
 */
import { execFileSync } from 'node:child_process';
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { MIB } from '../../src/bench/bench-array.js';
import { runFio, whyNoFio } from '../../src/bench/fio.js';
import { nbdOf } from '../../src/bench/nbd.js';
import { HOLDFAST, RunningServer } from '../../src/bench/nbd-servers.js';
import { isInstalled } from '../nbd/client/servers.js';
import { measuredOnce } from '../support/measured-once.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const folder = await temporaryFolder();
const PATH = process.env.PATH;
const hasFio = isInstalled('fio') && (await whyNoFio()) === null;
const OURS = ['holdfast, raw image', 'holdfast, RAID-5'];
const SIZES = {
  diskBytes: 6 * MIB,
  smallAreaBytes: MIB,
  randomReads: 64,
  randomWrites: 64,
  sequential: 4,
  flushed: 4,
};
const LIMIT_MS = 120_000;

afterEach(() => {
  process.env.PATH = PATH;
});

const run = (name: string) => measuredOnce(nbdOf(SIZES), join(folder, name));

/** A directory of programs in which there is fio alone, for PATH. */
async function fioAlone(): Promise<string> {
  const directory = join(folder, 'programs');
  await mkdir(directory);
  await symlink(execFileSync('which', ['fio'], { encoding: 'utf8' }).trim(), join(directory, 'fio'));
  return directory;
}

describe('the bench of served volumes', () => {
  test('measures nothing without fio, and says so', async () => {
    process.env.PATH = folder;
    const { notes, results } = await run('no-fio');
    expect(results).toEqual([]);
    expect(notes[0]).toMatch(/^Nothing was measured: fio cannot be run/);
  });

  test.runIf(hasFio)(
    'leaves out the servers that are not installed',
    async () => {
      process.env.PATH = await fioAlone();
      const { notes, results } = await run('ours');
      expect(notes[0]).toContain('qemu-nbd is left out: qemu-nbd cannot be run');
      expect(notes[1]).toContain('nbdkit is left out: nbdkit cannot be run');
      expect(results).toHaveLength(6);
      for (const { baseline, contenders } of results) {
        expect(baseline).toBeNull();
        expect(contenders.map(({ name }) => name)).toEqual(OURS);
        expect(contenders.map(({ ratio }) => ratio)).toEqual([null, null]);
      }
    },
    LIMIT_MS,
  );

  test.runIf(hasFio && isInstalled('qemu-nbd') && isInstalled('nbdkit'))(
    'compares RAID-5 with qemu-nbd and the raw image with nbdkit, with latencies of all',
    async () => {
      const { results } = await run('all');
      for (const { baseline, contenders } of results) {
        expect(baseline).toBe('qemu-nbd');
        expect(contenders.map(({ name, against }) => [name, against])).toEqual([
          ['qemu-nbd', null],
          ['nbdkit', 'qemu-nbd'],
          [OURS[0], 'nbdkit'],
          [OURS[1], 'qemu-nbd'],
        ]);
        for (const { latency } of contenders) {
          expect(latency!.p50Ms.median).toBeGreaterThan(0);
          expect(latency!.p99Ms.median).toBeGreaterThanOrEqual(latency!.p50Ms.median);
        }
      }
    },
    LIMIT_MS,
  );

  test.runIf(hasFio)('a server that does not start, and one that does not answer, are errors', async () => {
    const socket = join(folder, 'nobody.sock');
    await expect(RunningServer.start(HOLDFAST, join(folder, 'nothing'), socket)).rejects.toThrow('nothing');
    const work = { access: 'read', requestBytes: 4096, depth: 1, requests: 1, areaBytes: MIB } as const;
    await expect(runFio(socket, { ...work, flushesEach: false }, 1)).rejects.toThrow('fio');
  });
});
