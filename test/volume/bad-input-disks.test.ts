/**
 * Disks that are full or break while a volume is written: the command fails, or goes on without the member,
 * and says which; what was there before stays; and the volume is right again afterwards.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compileFailingCalls } from '../support/failing-calls.js';
import { type JsonResult, runHoldfast, runJson } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import {
  copyVolume,
  makeVolume,
  notTested,
  readAll,
  runLimited,
  statusOf,
  type TestVolume,
} from '../support/volumes.js';

const folder = await temporaryFolder();
const failing = compileFailingCalls(folder);
const MIB = 1024 ** 2;
const FLAGS = ['--members', '3', '--size', '8MiB', '--chunk', '64KiB'];
/** The first part of the volume; behind it nothing is allocated. */
const early = randomBytes(2 * MIB);
const late = randomBytes(6 * MIB);
let original: TestVolume;
let volume: TestVolume;
let count = 0;

beforeAll(async () => {
  original = await makeVolume(join(folder, 'original'), early, FLAGS);
  await writeFile(join(folder, 'late'), late);
});

async function fresh(): Promise<void> {
  volume = await copyVolume(original, join(folder, `volume-${count++}`));
}

const writeLate = (at: TestVolume): string[] => [
  'write',
  at.directory,
  '--offset',
  '2MiB',
  '--input',
  join(folder, 'late'),
];

function expectFull({ exitCode, json }: JsonResult, { images }: TestVolume): void {
  expect(exitCode).toBe(1);
  expect(json.error).toMatchObject({
    code: 'NO_SPACE',
    details: { offsetBytes: expect.any(Number), lengthBytes: expect.any(Number) },
  });
  expect(images).toContain(json.error?.details.image);
  expect(json.error?.message).toContain(String(json.error?.details.image));
  expect(json.error?.hint).toMatch(/space/);
}

/** No member was thrown out, and what was there is there, before and after the recovery. */
async function expectRecovery(at: TestVolume): Promise<void> {
  const full = await statusOf(at.directory);
  expect(full).toMatchObject({ exitCode: 3, state: 'dirty' });
  expect(full.members.filter((member) => member.state !== 'in-sync')).toEqual([]);
  expect((await readAll(at.directory)).subarray(0, early.length).equals(early)).toBe(true);
  const again = await runJson(writeLate(at));
  expect(again.exitCode, again.stdout).toBe(0);
  expect((await readAll(at.directory)).equals(Buffer.concat([early, late]))).toBe(true);
  expect((await runJson(['scrub', at.directory])).exitCode).toBe(0);
}

describe('a limit of file sizes that is met amid a write', () => {
  it('fails it; afterwards the volume is recovered', async () => {
    await fresh();
    const limited = await runLimited(3 * MIB, [...writeLate(volume), '--json']);
    expectFull(limited, volume);
    await expectRecovery(volume);
  });

  it('of a degraded volume costs nothing that was there', async () => {
    await fresh();
    expect((await runJson(['member', 'fail', volume.directory, '--slot', '0'])).exitCode).toBe(0);
    const limited = await runLimited(3 * MIB, [...writeLate(volume), '--json']);
    expectFull(limited, volume);
    // What the missing member held where it was written may be in doubt; nothing else is.
    const { state } = await statusOf(volume.directory);
    expect(['degraded', 'dirty-degraded']).toContain(state);
    const { stdoutBytes } = await runHoldfast(['read', volume.directory, '--length', '2MiB']);
    expect(stdoutBytes.equals(early)).toBe(true);
    if (state === 'dirty-degraded') {
      const { exitCode, json } = await runJson(writeLate(volume));
      expect({ exitCode, code: json.error?.code }).toEqual({ exitCode: 1, code: 'REFUSED' });
    }
    expect((await runJson([...writeLate(volume), '--force'])).exitCode).toBe(0);
    expect((await readAll(volume.directory)).equals(Buffer.concat([early, late]))).toBe(true);
  });

  it('while a volume is made: nothing is left of it', async () => {
    const directory = join(folder, 'never');
    const limited = await runLimited(MIB, ['create', directory, '--size', '8MiB', '--json']);
    expect(limited).toMatchObject({ exitCode: 1, json: { error: { code: 'NO_SPACE' } } });
    await expect(readFile(join(directory, 'member-0.img'))).rejects.toThrow('ENOENT');
    await expect(readFile(join(directory, 'holdfast.json'))).rejects.toThrow('ENOENT');
  });
});

describe('a disk that is full', () => {
  const mounted = join(folder, 'mounted');

  afterAll(() => {
    // Not mounted where nobody may mount.
    spawnSync('umount', [mounted]);
  });

  it('amid a write fails it; with room again the volume is recovered', async () => {
    await mkdir(mounted);
    const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'none', mounted]);
    if (mount.status !== 0) return notTested('a full disk', `cannot mount: ${String(mount.stderr)}`);
    const full = await makeVolume(join(mounted, 'volume'), early, FLAGS);
    expectFull(await runJson(writeLate(full)), full);
    execFileSync('mount', ['-o', 'remount,size=40m', mounted]);
    await expectRecovery(full);
  });
});

describe('a member that returns EIO', () => {
  const broken = (name: string, body: (env: NonNullable<typeof failing>) => Promise<void>): void =>
    void it(name, async () => {
      if (failing === null) return notTested(`EIO ${name}`, 'there is no C compiler (cc)');
      await fresh();
      await body(failing);
    });

  /** The member in slot 1 is out for good, the others have all. */
  async function expectOut(): Promise<void> {
    const status = await statusOf(volume.directory);
    expect(status).toMatchObject({ exitCode: 3, state: 'degraded' });
    expect(status.members.find((member) => member.image === volume.images[1])?.state).not.toBe('in-sync');
    const found = await readAll(volume.directory);
    expect(found.equals(Buffer.concat([early, late]))).toBe(true);
  }

  for (const [what, calls, after] of [
    ['its first write', 'w', 0],
    ['a write of data', 'w', 1],
    ['a flush', 'f', 0],
  ] as const) {
    broken(`for ${what} is taken out, named, and the write is done`, async (env) => {
      const { exitCode, json } = await runJson(writeLate(volume), {
        env: env({ files: 'member-1.img', calls, after }),
      });
      expect(exitCode, JSON.stringify(json)).toBe(0);
      expect(json.warnings.join()).toMatch(
        /member-1\.img failed and is taken out of .*: .*member-1\.img: .*EIO/,
      );
      await expectOut();
    });
  }

  broken('is out in the superblocks of the others before any later piece is written', async (env) => {
    const log = join(folder, 'log');
    const { exitCode } = await runJson([...writeLate(volume), '--fua'], {
      env: env({ files: 'member-1.img', calls: 'w', after: 3, log }),
    });
    expect(exitCode).toBe(0);
    const lines = (await readFile(log, 'utf8')).trim().split('\n');
    const failed = lines.findIndex((line) => line.startsWith('!'));
    const superblocks = [0, 2].map((slot) => `w 4096 ${volume.images[slot]}`);
    const recorded = superblocks.map((line) => lines.indexOf(line, failed));
    expect(Math.min(...recorded)).toBeGreaterThan(failed);
    // What is in flight beside the failure belongs to the same piece; all of that is within one MiB.
    const offsets = lines
      .slice(failed, Math.max(...recorded))
      .filter((line) => line.startsWith('w'))
      .map((line) => Number(line.split(' ')[1]))
      // Superblocks and records lie before the data.
      .filter((offset) => offset >= MIB);
    expect(Math.max(...offsets) - Math.min(...offsets)).toBeLessThanOrEqual(MIB);
    expect(lines.slice(failed).filter((line) => line === `w 4096 ${volume.images[1]}`)).toEqual([]);
    await expectOut();
  });

  broken('is out while the process still runs, and stays so when that is killed', async (env) => {
    let seen = '';
    const { exitCode } = await runHoldfast(['write', volume.directory, '--input', '-', '--fua'], {
      env: env({ files: 'member-1.img', calls: 'w', after: 1 }),
      onStart: (child) => {
        child.stdin?.write(early);
        const poll = async (): Promise<void> => {
          for (;;) {
            const { members } = await statusOf(volume.directory);
            seen = members.find((member) => member.image === volume.images[1])?.state ?? 'gone';
            if (seen !== 'in-sync') break;
          }
        };
        void poll().finally(() => child.kill('SIGKILL'));
      },
    });
    expect(exitCode).toBe(137);
    expect(['stale', 'faulty']).toContain(seen);
    const { json } = await runJson(['status', volume.directory]);
    const { state, inDoubt } = json.result as { state: string; inDoubt: readonly { offsetBytes: number }[] };
    // By then the piece may be durable, or still be on its way.
    expect(['degraded', 'dirty-degraded']).toContain(state);
    const end = Math.min(early.length, ...inDoubt.map(({ offsetBytes }) => offsetBytes));
    const { stdoutBytes } = await runHoldfast([
      'read',
      volume.directory,
      '--length',
      String(end),
      '--output',
      '-',
    ]);
    expect(stdoutBytes.equals(early.subarray(0, end))).toBe(true);
  });

  broken('for reads is read around', async (env) => {
    const read = ['read', volume.directory, '--length', '2MiB', '--output', '-'];
    const { exitCode, stdoutBytes, stderr } = await runHoldfast(read, {
      env: env({ files: 'member-1.img', calls: 'r', after: 8 }),
    });
    expect(exitCode, stderr).toBe(0);
    expect(stdoutBytes.equals(early)).toBe(true);
    expect(stderr).toMatch(/member-1\.img: \d+ bytes cannot be read \(first at offset \d+\): .*EIO/);
  });

  broken(
    'beside another that does: the write fails, and says that nothing is written any more',
    async (env) => {
      const { exitCode, json } = await runJson(writeLate(volume), {
        env: env({ files: '.img', calls: 'w', after: 4 }),
      });
      expect(exitCode).toBe(1);
      expect(json.error?.code).toMatch(/NOT_ASSEMBLED|IO_ERROR/);
      expect(json.error?.message).toContain(volume.directory);
      expect((await readAll(volume.directory)).subarray(0, early.length).equals(early)).toBe(true);
    },
  );
});
