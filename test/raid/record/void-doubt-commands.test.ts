/**
 * What is in doubt in a volume whose dirty-stripe record counts no more, because somebody else wrote a superblock: as a
 * user meets it. What bad blocks say is known still.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
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
