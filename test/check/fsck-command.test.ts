/** `holdfast fsck` as a user runs it: what is repaired when, exit codes of fsck(8), questions, Ctrl-C, wrong usage. */
import { randomBytes } from 'node:crypto';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { compileFailingCalls } from '../support/failing-calls.js';
import { unpackArray } from '../support/md-fixtures.js';
import { type JsonResult, runHoldfast, runJson, runOnTerminal } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import {
  contentOf,
  copyVolume,
  makeVolume,
  notTested,
  readAll,
  statusOf,
  type TestVolume,
} from '../support/volumes.js';
import { rot } from './support/images.js';

const folder = await temporaryFolder();
const failing = compileFailingCalls(folder);
const content = randomBytes(1024 ** 2);
let original: TestVolume;
let volume: TestVolume;
let count = 0;

beforeAll(async () => {
  original = await makeVolume(join(folder, 'original'), content);
});

beforeEach(async () => {
  volume = await copyVolume(original, join(folder, `volume-${count++}`));
});

const fsck = (...args: string[]): Promise<JsonResult> => runJson(['fsck', ...args, volume.directory]);

function findingsOf({ json }: JsonResult): unknown {
  expect(json.error).toBeUndefined();
  return json.result?.findings;
}

/** Code and whether it was repaired, of each finding. */
function told(result: JsonResult): string[] {
  const findings = findingsOf(result) as readonly { code: string; repaired: boolean }[];
  return findings.map(({ code, repaired }) => `${code}${repaired ? ' repaired' : ''}`);
}

/** As a write leaves it that was killed amid its data. */
async function makeDirty(env: NonNullable<typeof failing>): Promise<void> {
  for (let after = 6; after < 20; after++) {
    const killed = env({ files: '.img', calls: 'w', after, signal: 'SIGKILL' });
    const args = ['write', volume.directory, '--offset', '4KiB', '--fua'];
    expect((await runHoldfast(args, { input: randomBytes(64 * 1024), env: killed })).exitCode).toBe(137);
    if ((await statusOf(volume.directory)).state === 'dirty') return;
    volume = await copyVolume(original, join(folder, `volume-${count++}`));
  }
  throw new Error('no kill has left the volume dirty');
}

function withCompiler(name: string, body: (env: NonNullable<typeof failing>) => Promise<void>): void {
  it(name, async () => {
    if (failing === null) return notTested(name, 'there is no C compiler (cc)');
    await body(failing);
  });
}

describe('a volume that was not closed', () => {
  withCompiler('is repaired by -p, once', async (env) => {
    await makeDirty(env);
    const left = await fsck('-n');
    expect(told(left)).toContain('ARRAY_DIRTY');
    expect(left.exitCode).toBe(4);
    const repaired = await fsck('-p');
    expect(told(repaired)).toContain('ARRAY_DIRTY repaired');
    expect(repaired.exitCode).toBe(1);
    expect(repaired.json.result).toMatchObject({ repairs: ['recover'], isInterrupted: false, undo: null });
    const before = await contentOf(volume.directory);
    const again = await fsck('-p', '--scrub');
    expect(again.exitCode).toBe(0);
    expect(await contentOf(volume.directory)).toEqual(before);
    expect(await statusOf(volume.directory)).toMatchObject({ state: 'clean' });
  });

  withCompiler('and lacks a member is started by -y with --force alone', async (env) => {
    await makeDirty(env);
    await rename(volume.images[1]!, join(folder, `away-${count}`));
    const before = await contentOf(volume.directory);
    for (const how of [['-p'], ['-y'], ['-p', '--force']]) {
      const refused = await fsck(...how);
      expect(refused.exitCode, how.join()).toBe(4);
      expect(told(refused)).toContain('ARRAY_DIRTY_DEGRADED');
    }
    expect(await contentOf(volume.directory)).toEqual(before);
    const forced = await fsck('-y', '--force');
    expect(forced.exitCode).toBe(1 + 4);
    expect(told(forced)).toEqual(
      expect.arrayContaining(['IMAGE_ABSENT', 'MEMBER_MISSING', 'ARRAY_DIRTY_DEGRADED repaired']),
    );
  });

  withCompiler('is left by Ctrl-C (32) as far as it was repaired; the next one ends it', async (env) => {
    await makeDirty(env);
    let isStopped = false;
    // Reads of the look come first; then, at some read, it is in the recovery.
    for (let after = 8; after < 40 && !isStopped; after++) {
      const stopped = await runJson(['fsck', '-p', volume.directory], {
        env: env({ files: '-1.img', calls: 'r', after, signal: 'SIGINT' }),
      });
      if (stopped.json.error !== undefined) {
        expect(stopped).toMatchObject({ exitCode: 32, json: { error: { code: 'INTERRUPTED' } } });
        continue;
      }
      isStopped = stopped.json.result?.isInterrupted === true;
      if (!isStopped) break;
      expect(stopped.exitCode & 32).toBe(32);
      expect(stopped.exitCode & 8).toBe(0);
    }
    expect(isStopped).toBe(true);
    expect([0, 1]).toContain((await fsck('-p')).exitCode);
    expect((await fsck('-n', '--scrub')).exitCode).toBe(0);
  });
});

describe('parity that disagrees with data', () => {
  it('is found by --scrub alone, left by -p, and made anew by -y', async () => {
    const fixture = unpackArray('bitrot-parity');
    try {
      const run = (...args: string[]) => runJson(['fsck', ...args, ...fixture.images]);
      expect((await run('-n')).exitCode).toBe(0);
      const found = await run('-p', '--scrub');
      expect(found.exitCode).toBe(4);
      const [mismatch] = findingsOf(found) as { where?: { stripe: number } }[];
      const stripe = Math.floor((fixture.expect.bad_rows![0]! * 4096) / 65536);
      expect(mismatch).toMatchObject({
        code: 'PARITY_MISMATCH',
        repair: { name: 'make-parity', isSafe: false },
      });
      expect(mismatch?.where?.stripe).toBe(stripe);
      const repaired = await run('-y', '--scrub');
      expect(repaired.exitCode).toBe(1);
      expect((await run('-n', '--scrub')).exitCode).toBe(0);
    } finally {
      fixture.remove();
    }
  });
});

describe('a rebuild that was cut', () => {
  withCompiler('is ended by -p', async (env) => {
    const image = `${volume.directory}-new`;
    expect((await runJson(['member', 'fail', volume.directory, '--slot', '2'])).exitCode).toBe(0);
    const add = ['member', 'add', volume.directory, '--image', image];
    const killed = env({ files: '-new', calls: 'w', after: 5, signal: 'SIGKILL' });
    expect((await runHoldfast(add, { env: killed })).exitCode).toBe(137);
    const repaired = await fsck('-p');
    expect(told(repaired)).toContain('REBUILD_UNFINISHED repaired');
    expect(await statusOf(volume.directory)).toMatchObject({ exitCode: 0, state: 'clean' });
    expect((await readAll(volume.directory)).equals(content)).toBe(true);
  });
});

describe('superblocks that are damaged', () => {
  it('of two members, so that nothing can be read: -p restores both', async () => {
    for (const slot of [0, 2]) await rot(volume.images[slot]!, 4096 + 64 + slot);
    expect((await runJson(['read', volume.directory, '--output', join(folder, 'out')])).exitCode).toBe(1);
    const repaired = await fsck('-p');
    expect(repaired.exitCode).toBe(1);
    expect(told(repaired).filter((each) => each === 'SUPERBLOCK_DAMAGED repaired')).toHaveLength(2);
    expect(await contentOf(volume.directory)).toEqual(
      new Map([...(await contentOf(original.directory))].map(([path, hash]) => [moved(path), hash])),
    );
    expect((await readAll(volume.directory)).equals(content)).toBe(true);
  });

  it('where the member alone knew it: nothing is made up', async () => {
    await rot(volume.images[1]!, 4096 + 170);
    const before = await contentOf(volume.directory);
    const left = await fsck('-y', '--force');
    expect(left.exitCode).toBe(4);
    expect(told(left)).toContain('SUPERBLOCK_DAMAGED');
    expect(await contentOf(volume.directory)).toEqual(before);
  });

  const moved = (path: string): string => path.replace(original.directory, volume.directory);
});

describe('one plain image', () => {
  it('is checked for what an image can be checked for', async () => {
    const plain = join(folder, 'plain');
    expect((await runJson(['create', plain, '--members', '1', '--size', '1MiB'])).exitCode).toBe(0);
    expect((await runJson(['fsck', '-n', plain, '--scrub'])).exitCode).toBe(0);
    expect((await runJson(['fsck', '-p', join(plain, 'disk.img')])).exitCode).toBe(0);
  });
});

describe('on a terminal', () => {
  beforeEach(() => rot(volume.images[1]!, 4096 + 64));

  it('it asks, and does what is answered', async () => {
    const { exitCode, stdout } = await runOnTerminal(['fsck', volume.directory], {
      awaited: 'Repair it?',
      answers: 'y\r',
    });
    expect(exitCode, stdout).toBe(1);
    expect(stdout).toContain('SUPERBLOCK_DAMAGED');
    expect(stdout).toContain('Nothing is lost by it');
    expect((await fsck('-n')).exitCode).toBe(0);
  });

  it('no leaves everything as it is', async () => {
    const before = await contentOf(volume.directory);
    const { exitCode, stdout } = await runOnTerminal(['fsck', volume.directory], {
      awaited: 'Repair it?',
      answers: 'n\r',
    });
    expect(exitCode, stdout).toBe(4);
    expect(stdout).toContain('fsck -p repairs it');
    expect(await contentOf(volume.directory)).toEqual(before);
  });

  it('Ctrl-C at the question is 32', async () => {
    const { exitCode } = await runOnTerminal(['fsck', volume.directory], {
      awaited: 'Repair it?',
      answers: '\u0003',
    });
    expect(exitCode).toBe(32);
  });
});

describe('wrong usage is 16', () => {
  it.each([
    [[], 'nobody is at a terminal'],
    [['-n', '-p'], 'only one of'],
    [['-p', '-y'], 'only one of'],
    [['-n', '--undo', 'u'], '--undo'],
    [['-n', '--revert', 'u'], '--revert'],
    [['--revert', 'u', '--undo', 'v'], '--revert'],
    [['-n', '--no-such-flag'], '--no-such-flag'],
  ])('%j', async (flags, said) => {
    const before = await contentOf(volume.directory);
    const { exitCode, json } = await fsck(...flags);
    expect(exitCode).toBe(16);
    expect(json).toMatchObject({ exitCode: 16, error: { code: 'USAGE' } });
    expect(json.error?.message).toContain(said);
    expect(await contentOf(volume.directory)).toEqual(before);
  });
});

describe('what cannot be checked is 8', () => {
  it('no such volume', async () => {
    const { exitCode, json } = await runJson(['fsck', '-n', join(folder, 'gone')]);
    expect({ exitCode, code: json.error?.code }).toEqual({ exitCode: 8, code: 'VOLUME_NOT_FOUND' });
  });

  it.each(['-n', '-p'])('a volume that another process writes: %s names that', async (how) => {
    let seen: JsonResult | undefined;
    let pid: number | undefined;
    const { exitCode } = await runHoldfast(['write', volume.directory, '--fua'], {
      onStart: (writer) => {
        writer.stdin?.write(content);
        pid = writer.pid;
        const work = async (): Promise<void> => {
          while ((await statusOf(volume.directory)).holder === null);
          seen = await fsck(how);
        };
        void work().finally(() => writer.stdin?.end());
      },
    });
    expect(exitCode).toBe(0);
    expect(seen).toMatchObject({ exitCode: 8, json: { error: { code: 'IN_USE' } } });
    expect(seen?.json.error?.message).toContain(`process ${pid}`);
  });
});

it('for people: a line for each finding, what is left and what to do', async () => {
  await rot(volume.images[1]!, 4096 + 64);
  const { exitCode, stdout } = await runHoldfast(['fsck', '-n', volume.directory]);
  expect(exitCode).toBe(4);
  expect(stdout).toMatch(/^SUPERBLOCK_DAMAGED error slot 1 .*member-1\.img at byte 4096: /m);
  expect(stdout).toContain('What is left, and what to do:');
  expect(stdout).toMatch(/^ {2}fsck -p repairs it: /m);
  const repaired = await runHoldfast(['fsck', '-p', volume.directory]);
  expect(repaired.stdout).toContain('(repaired)');
  expect(repaired.stdout).toContain('1 of 1 findings are repaired');
});
