/**
 * Features of a record that this version does not know, as a user meets them: one in `incompat` forbids all, one in
 * `ro_compat` forbids to write, one in `compat` nothing (docs/on-disk-format.md, the dirty-stripe record).
 */

import { join } from 'node:path';
import { crc32c } from '@node-rs/crc32';
import { beforeAll, describe, expect, it } from 'vitest';
import { HEADER_BYTES } from '../../../src/raid/record/codec.js';
import { RECORD_HEADER } from '../../../src/raid/record/fields.js';
import { bytesAt, changeFields, overwrite, recordsIn } from '../../check/support/images.js';
import { runHoldfast, runJson } from '../../support/run-holdfast.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import {
  contentOf,
  copyVolume,
  makeVolume,
  readAll,
  statusOf,
  type TestVolume,
} from '../../support/volumes.js';

const folder = await temporaryFolder();
const content = Buffer.from('what the volume holds');
const BIT_9 = 1 << 9;
let original: TestVolume;
let count = 0;

beforeAll(async () => {
  original = await makeVolume(join(folder, 'original'), content);
});

/** A volume whose newest record has this feature in both copies, with checksums that are right. */
async function withFeature(field: 'compat' | 'ro_compat' | 'incompat', bits: number): Promise<TestVolume> {
  const volume = await copyVolume(original, join(folder, `volume-${count++}`));
  const found = (await Promise.all(volume.images.map((image) => recordsIn(image)))).flat();
  const newest = found.reduce((max, { record }) => (record.generation > max ? record.generation : max), 0n);
  for (const { image, offset, record } of found) {
    if (record.generation !== newest) continue;
    const length = RECORD_HEADER.at(await bytesAt(image, offset, HEADER_BYTES)).number('length');
    const bytes = await bytesAt(image, offset, length);
    const header = RECORD_HEADER.at(bytes);
    header.setNumber(field, bits);
    for (const checksum of ['checksum', 'header_checksum'] as const) header.setNumber(checksum, 0);
    header.setNumber('header_checksum', crc32c(bytes.subarray(0, HEADER_BYTES)));
    header.setNumber('checksum', crc32c(bytes));
    await overwrite(image, offset, bytes);
  }
  return volume;
}

const WRITERS = [
  ['write', '--input', '-'],
  ['recover'],
  ['scrub', '--repair'],
  ['member', 'fail', '--slot', '0'],
];

/** All that write are refused with words like these, and change nothing. */
async function expectNoWrites(volume: TestVolume, said: RegExp): Promise<void> {
  const before = await contentOf(volume.directory);
  for (const [command, ...more] of WRITERS) {
    const words = command === 'member' ? [command, more.shift()!] : [command!];
    const { exitCode, json } = await runJson([...words, volume.directory, ...more], { input: 'x' });
    expect(exitCode, command).toBe(command === 'scrub' ? 4 : 1);
    expect(json.error, command).toMatchObject({
      code: 'NOT_ASSEMBLED',
      message: expect.stringMatching(said),
      hint: expect.stringContaining('version'),
    });
  }
  expect(await contentOf(volume.directory)).toEqual(before);
}

describe('a feature that is not known', () => {
  it('in incompat: nothing reads or writes the volume, and each says which bit', async () => {
    const volume = await withFeature('incompat', BIT_9);
    const said = /incompat bit 9 \(0x200\)/;
    await expectNoWrites(volume, said);
    const read = await runJson(['read', volume.directory, '--output', join(folder, 'out')]);
    expect(read).toMatchObject({ exitCode: 1, json: { error: { code: 'NOT_ASSEMBLED' } } });
    expect(read.json.error?.message).toMatch(said);
    const { exitCode, state, problems } = await statusOf(volume.directory);
    expect({ exitCode, state }).toEqual({ exitCode: 4, state: 'failed' });
    expect(problems.map(({ message }) => message).join()).toMatch(said);
    expect((await runHoldfast(['examine', ...volume.images])).stdout).toMatch(said);
  });

  it('in ro_compat: it is read with a warning that names the bit, and not written', async () => {
    const volume = await withFeature('ro_compat', BIT_9);
    const said = /ro_compat bit 9 \(0x200\)/;
    await expectNoWrites(volume, said);
    const read = await runHoldfast(['read', volume.directory, '--length', '21', '--output', '-']);
    expect(read.exitCode).toBe(0);
    expect(read.stdout).toBe(content.toString());
    expect(read.stderr).toMatch(said);
    const status = await runJson(['status', volume.directory]);
    expect(status.json.result).toMatchObject({
      state: 'clean',
      raid: { record: { verdict: 'valid' } },
      problems: [{ code: 'RECORD_FEATURE', message: expect.stringMatching(said) }],
    });
    expect(status.exitCode).toBe(0);
    const scrub = await runJson(['scrub', volume.directory]);
    expect(scrub.exitCode).toBe(0);
    expect(scrub.json.warnings.join()).toMatch(said);
    const checked = await runJson(['fsck', '-y', volume.directory]);
    expect(checked.json.result?.findings).toMatchObject([
      { code: 'SET_READ_ONLY', reason: 'RECORD_FEATURE', repaired: false, repair: null },
    ]);
    expect(checked.exitCode).toBe(4);
    expect((await runHoldfast(['examine', ...volume.images])).stdout).toMatch(said);
  });

  it('in ro_compat of a record that is void forbids to write still', async () => {
    const volume = await withFeature('ro_compat', 1);
    await changeFields(volume.images[1]!, (view) => view.setBig('utime', 1n));
    const { json } = await runJson(['status', volume.directory]);
    expect(json.result).toMatchObject({ raid: { record: { verdict: 'void' } } });
    await expectNoWrites(volume, /ro_compat bit 0 \(0x1\)/);
  });

  it('in compat: nobody hears of it, and the next record has it no more', async () => {
    const volume = await withFeature('compat', 0xffff_ffff);
    const status = await runJson(['status', volume.directory]);
    expect(status).toMatchObject({
      exitCode: 0,
      json: {
        warnings: [],
        result: { state: 'clean', problems: [], raid: { record: { verdict: 'valid' } } },
      },
    });
    const written = await runJson(['write', volume.directory, '--fua'], { input: 'anew' });
    expect(written).toMatchObject({ exitCode: 0, json: { warnings: [] } });
    expect((await readAll(volume.directory)).toString('latin1', 0, 4)).toBe('anew');
    const [newest] = await recordsIn(volume.images[0]!);
    const header = RECORD_HEADER.at(await bytesAt(newest!.image, newest!.offset, HEADER_BYTES));
    expect(header.number('compat')).toBe(0);
  });
});
