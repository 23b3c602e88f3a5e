/** The power goes while a volume of files is made, recovered or mended: at any write it is nothing, or what it is to be. */
import { randomBytes } from 'node:crypto';
import { cp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { rot } from '../check/support/images.js';
import {
  makeExtents,
  readFile,
  SHAPES,
  withExtents,
  withImages,
  writeFile,
} from '../support/extents-volumes.js';
import { runHoldfast, runJson } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const folder = await temporaryFolder();
let count = 0;
const place = (): string => join(folder, `volume-${count++}`);

const POWER_CUT = 75;

/** Cuts at this write; false: there was no such write, and the command came to its end. */
async function cutAt(write: number, command: readonly string[]): Promise<boolean> {
  const inject = ['crash', 'inject', '--at-write', String(write), '--seed', String(write), '--', ...command];
  const { exitCode, stdout, stderr } = await runHoldfast(inject);
  if (exitCode !== POWER_CUT && exitCode !== 1) throw new Error(`${command.join(' ')}: ${stdout}${stderr}`);
  return exitCode === POWER_CUT;
}

it('a volume that was not made to the end is none', async () => {
  let cuts = 0;
  for (let write = 1; ; write += 4) {
    const directory = place();
    const flags = [
      ...SHAPES['one image'],
      '--metadata',
      `${directory}.m`,
      '--journal-image',
      `${directory}.j`,
    ];
    const create = ['create', directory, '--format', 'extents', ...flags, '--journal-size', '1MiB'];
    if (!(await cutAt(write, create))) break;
    cuts += 1;
    expect(await readdir(directory)).toEqual(['disk.img']);
    const status = await runJson(['status', directory]);
    expect(status.json.error).toMatchObject({ code: 'VOLUME_NOT_FOUND' });
  }
  expect(cuts).toBeGreaterThan(3);
});

it('a recovery that was cut is made to the end by the next one', async () => {
  const original = place();
  const content = randomBytes(2 * 4096);
  await makeExtents(original, [...SHAPES['one image'], ...withImages(original)]);
  await withExtents(original, 'write', (open) => writeFile(open, 'one', content, 'hardening'));
  // A copy of a superblock is mended first.
  await rot(join(original, 'metadata.img'), 100);
  let cuts = 0;
  for (let write = 1; ; write += 2) {
    const directory = place();
    await cp(original, directory, { recursive: true });
    const isCut = await cutAt(write, ['recover', directory]);
    if (isCut) {
      cuts += 1;
      const recovered = await runJson(['recover', directory]);
      expect(recovered.exitCode, recovered.stdout).toBe(0);
    }
    expect((await runJson(['fsck', '-n', directory])).json.result?.findings).toEqual([]);
    await withExtents(directory, 'read', async (open) => {
      const bytes = await readFile(open, 'one');
      expect(Buffer.compare(bytes!.subarray(0, content.length), content)).toBe(0);
    });
    if (!isCut) break;
  }
  expect(cuts).toBeGreaterThan(2);
});
