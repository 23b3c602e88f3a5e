/**
 * What is in doubt in a volume whose dirty-stripe record counts no more, because somebody else wrote a superblock: as a
 * user meets it. What bad blocks say is known still.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { changeFields } from '../../check/support/images.js';
import { chosenSeed, SeededRandom } from '../../support/devices/seeded-random.js';
import { runHoldfast, runJson } from '../../support/run-holdfast.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { copyVolume, makeVolume, type TestVolume } from '../../support/volumes.js';
import { cutAmidWrites, startByForce } from './support/crashed-volume.js';

const folder = await temporaryFolder();
const random = new SeededRandom(chosenSeed());
const CHUNK = 4096;
/** Data chunks of the member in slot 0, of the stripes that were being written. */
const DOUBT = [
  { offsetBytes: 3 * 2 * CHUNK, lengthBytes: CHUNK },
  { offsetBytes: 40 * 2 * CHUNK + CHUNK, lengthBytes: CHUNK },
];
/** Without its first member, started by force, and stopped: clean, and in doubt. */
let degraded: TestVolume;
let count = 0;

beforeAll(async () => {
  degraded = await makeVolume(join(folder, 'whole'), random.bytes(1024 ** 2));
  await cutAmidWrites(degraded, [3, 40], random);
  await rm(degraded.images[0]!);
  await startByForce(degraded);
});

const fresh = () => copyVolume(degraded, join(folder, `volume-${count++}`));

/** As who does not know the record: another utime is enough. */
async function voidRecord({ images }: TestVolume): Promise<void> {
  await changeFields(images[1]!, (view) => view.setBig('utime', 1n));
}

/** As the kernel leaves it that is cut: no record of ours counts, and all of it is to be resynced. */
async function makeDirty({ images }: TestVolume): Promise<void> {
  for (const image of images.slice(1)) await changeFields(image, (view) => view.setBig('resync_offset', 0n));
}

async function statusIn({ directory }: TestVolume) {
  const { exitCode, json } = await runJson(['status', directory]);
  return { exitCode, ...json.result } as {
    exitCode: number;
    inDoubt: object[];
    problems: { code: string }[];
  };
}

it('what a rebuild could not make is lost without a record too: status and fsck name it', async () => {
  const volume = await fresh();
  const image = join(volume.directory, 'new.img');
  expect((await runJson(['member', 'add', volume.directory, '--image', image])).exitCode).toBe(0);
  await voidRecord(volume);
  expect(await statusIn(volume)).toMatchObject({
    exitCode: 4,
    inDoubt: DOUBT,
    raid: { record: { verdict: 'void' } },
    problems: [{ code: 'IMAGE_ABSENT' }, { code: 'IN_DOUBT' }],
  });
  const { stdout } = await runHoldfast(['status', volume.directory]);
  for (const { offsetBytes } of DOUBT) expect(stdout).toContain(`4096 bytes at offset ${offsetBytes}`);
  const { json, exitCode } = await runJson(['fsck', '-n', volume.directory]);
  const findings = json.result?.findings as { code: string; where: object }[];
  expect(findings.flatMap(({ code, where }) => (code === 'DATA_IN_DOUBT' ? [where] : []))).toEqual(DOUBT);
  expect(exitCode).toBe(4);
});

describe('what a record had in doubt that is void now', () => {
  const named = DOUBT.map(({ offsetBytes }) => `4096 at offset ${offsetBytes}`).join(', ');

  it('status names it, and says that nobody can tell it', async () => {
    const volume = await fresh();
    await voidRecord(volume);
    const { exitCode, inDoubt, problems, ...more } = await statusIn(volume);
    expect({ exitCode, inDoubt }).toEqual({ exitCode: 3, inDoubt: [] });
    expect(more).toMatchObject({
      state: 'degraded',
      raid: { record: { verdict: 'void', forgottenDoubt: DOUBT } },
    });
    expect(problems).toContainEqual({
      code: 'DOUBT_FORGOTTEN',
      message: expect.stringContaining(named),
      hint: expect.stringContaining('backup'),
    });
  });

  it.each([['read', '--length', '512', '--output', '-'], ['recover'], ['write', '--input', '-']])(
    '%s warns of it, and names it',
    async (command, ...flags) => {
      const volume = await fresh();
      await voidRecord(volume);
      const { exitCode, stderr } = await runHoldfast([command!, volume.directory, ...flags], { input: 'x' });
      expect(exitCode).toBe(0);
      expect(stderr).toContain(named);
      // Nothing tells of it once a new record is there; a look leaves it.
      const { problems } = await statusIn(volume);
      const isTold = problems.some(({ code }) => code === 'DOUBT_FORGOTTEN');
      expect(isTold).toBe(command !== 'write');
    },
  );

  it('fsck finds it; that a repair has overwritten the record makes nothing better', async () => {
    const volume = await fresh();
    await voidRecord(volume);
    const found = async (...flags: string[]) => {
      const { json, exitCode } = await runJson(['fsck', ...flags, volume.directory]);
      const findings = json.result?.findings as { code: string; where: object; repaired: boolean }[];
      expect(exitCode & 4).toBe(4);
      return findings.filter(({ code }) => code === 'DOUBT_FORGOTTEN');
    };
    const expected = DOUBT.map((where) => ({ where, severity: 'error', repaired: false, repair: null }));
    expect(await found('-n')).toMatchObject(expected);
    // Which is repaired by what writes a new record.
    await makeDirty(volume);
    expect(await found('-y', '--force')).toMatchObject(expected);
    expect(await found('-n')).toEqual([]);
  });

  it('is told after a rebuild too, of whichever member it was', async () => {
    const volume = await fresh();
    // As the kernel does it: it takes the member's place for good, and knows of no doubt.
    await voidRecord(volume);
    const { json } = await runJson([
      'member',
      'add',
      volume.directory,
      '--image',
      join(volume.directory, 'n.img'),
    ]);
    expect(json.warnings.join()).toContain(named);
    expect((await statusIn(volume)).inDoubt).toEqual([]);
  });
});
