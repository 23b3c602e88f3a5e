/**
 * A record in a file of its own, and what becomes of a volume whose record is away, of another volume, old or
 * damaged: as a user meets it.
 */
import { copyFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ImageFile } from '../../../src/device/image-file.js';
import { judgeDevices } from '../../../src/lab/self/raid/arrays.js';
import { changeSuperblock, superblockBytes } from '../../../src/raid/md/superblock.js';
import { createVolume, openVolume, type VolumeStatus, volumeStatus } from '../../../src/volume/index.js';
import { withSeed } from '../../support/devices/seeded-random.js';
import { loadMetadata } from '../../support/md-fixtures.js';
import { runHoldfast, runJson } from '../../support/run-holdfast.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { contentOf, SHAPE } from '../../support/volumes.js';
import { putRecord } from './support/crashed-array.js';
import { cutAmidWrites } from './support/crashed-volume.js';
import { newestOn, placesOf, recordsOn } from './support/watched-array.js';

const folder = await temporaryFolder();
const STRIPES = 128;
const CUT = [3, 40, 77];
/** A resync of all, of which just what was cut was wrong. */
const WHOLE = { resyncedStripes: STRIPES, correctedStripes: CUT.length };
let count = 0;

interface FileVolume {
  readonly directory: string;
  readonly record: string;
  readonly images: readonly string[];
}

/** With three stripes of wrong parity. */
async function cutVolume(random: Parameters<typeof cutAmidWrites>[2], withFile = true): Promise<FileVolume> {
  const directory = join(folder, `volume-${count}`);
  const record = join(folder, `record-${count++}`);
  const shape = { members: 3, sizeBytes: 1024 * 1024, chunkBytes: 4096, layout: 'left-symmetric' };
  const { images } = await createVolume({
    directory,
    ...shape,
    force: false,
    ...(withFile ? { record } : {}),
  });
  await cutAmidWrites({ images }, CUT, random, withFile ? record : undefined);
  return { directory, record, images };
}

/** Opened for writing, which recovers it, and closed. */
async function recover(names: readonly string[], record?: string) {
  const warnings: string[] = [];
  const warn = (message: string): void => void warnings.push(message);
  const volume = await openVolume(names, { access: 'write', warn, record });
  await volume.close();
  return { ...volume.recovery, warnings: warnings.join() };
}

const recordOf = (status: VolumeStatus) => status.raid!.record;

/** The members as devices, and closed again. */
async function withImages<T>(
  images: readonly string[],
  use: (devices: ImageFile[]) => Promise<T>,
): Promise<T> {
  const devices = await Promise.all(images.map((image) => ImageFile.open(image, { readOnly: false })));
  try {
    return await use(devices);
  } finally {
    await Promise.all(devices.map((device) => device.close()));
  }
}

describe('create --record FILE', () => {
  it('keeps the record there and nothing of it on the members; status shows it', async () => {
    const directory = join(folder, 'made');
    const record = join(folder, 'made.record');
    const made = await runHoldfast(['create', directory, ...SHAPE, '--record', record]);
    expect(made.exitCode, made.stderr).toBe(0);
    const written = await runHoldfast(['write', directory, '--input', '-'], { input: 'content' });
    expect(written.exitCode, written.stderr).toBe(0);
    const { exitCode, stdout } = await runHoldfast(['status', directory]);
    expect(exitCode).toBe(0);
    expect(stdout).toContain(`in ${record}`);
    const images = [0, 1, 2].map((slot) => join(directory, `member-${slot}.img`));
    await withImages(images, async (devices) => expect(await recordsOn(devices)).toEqual([]));
    expect(recordOf(await volumeStatus([directory]))).toMatchObject({
      kind: 'file',
      file: record,
      verdict: 'valid',
    });
    const again = await runJson(['create', join(folder, 'other'), ...SHAPE, '--record', record]);
    expect(again).toMatchObject({ exitCode: 1, json: { error: { code: 'NOT_BLANK' } } });
  });

  it('and after a crash just what it names is resynced', async () => {
    await withSeed(async (random) => {
      const { directory } = await cutVolume(random);
      const { exitCode, json } = await runJson(['status', directory]);
      expect(exitCode).toBe(3);
      expect(json.result).toMatchObject({ state: 'dirty', dirtyStripes: CUT.length });
      const done = await runJson(['recover', directory]);
      expect(done.exitCode).toBe(0);
      expect(done.json.result).toMatchObject({
        resyncedStripes: CUT.length,
        resyncedBytes: CUT.length * 8192,
        correctedStripes: CUT.length,
      });
      expect(await volumeStatus([directory])).toMatchObject({ state: 'clean', dirtyStripes: 0 });
    });
  });
});

describe('a record file', () => {
  it('that was deleted: all is resynced, it says so, and makes a new one', async () => {
    await withSeed(async (random) => {
      const { directory, record } = await cutVolume(random);
      await rm(record);
      const status = await volumeStatus([directory]);
      expect(status).toMatchObject({ state: 'dirty', dirtyStripes: STRIPES });
      expect(status.problems.map(({ code }) => code)).toContain('RECORD_FILE');
      const { warnings, ...recovery } = await recover([directory]);
      expect(recovery).toMatchObject(WHOLE);
      expect(warnings).toContain(record);
      expect(recordOf(await volumeStatus([directory]))).toMatchObject({ kind: 'file', verdict: 'valid' });
    });
  });

  it('that was put back from a copy is void: all is resynced', async () => {
    await withSeed(async (random) => {
      const { directory, record, images } = await cutVolume(random);
      await recover([directory]);
      await copyFile(record, `${record}.old`);
      await cutAmidWrites({ images }, [9], random, record);
      await copyFile(`${record}.old`, record);
      const status = await volumeStatus([directory]);
      expect(status).toMatchObject({ state: 'dirty', dirtyStripes: STRIPES });
      expect(recordOf(status)).toMatchObject({
        verdict: 'void',
        reason: expect.stringContaining('superblock'),
      });
      expect(await recover([directory])).toMatchObject({ resyncedStripes: STRIPES, correctedStripes: 1 });
    });
  });

  it.each(['of another volume', 'of something else', 'that is a member', 'that is too short'])(
    '%s is not written: the command is refused, and says which file',
    async (what) => {
      await withSeed(async (random) => {
        const { directory, record } = await cutVolume(random);
        const other = await cutVolume(random);
        if (what === 'of another volume') await copyFile(other.record, record);
        else if (what === 'that is a member') await copyFile(other.images[0]!, record);
        else await writeFile(record, random.bytes(what === 'that is too short' ? 4096 : 65536));
        const before = await contentOf(directory, record);
        const status = await volumeStatus([directory]);
        expect(status).toMatchObject({ state: 'dirty', dirtyStripes: STRIPES });
        expect(recordOf(status)).toMatchObject({ kind: 'file', file: record, verdict: 'unusable' });
        expect(status.problems).toContainEqual({
          code: 'RECORD_FILE',
          message: expect.stringMatching(new RegExp(`${record} cannot be used: .* at byte \\d+`)),
          hint: expect.stringContaining('--record'),
        });
        await expect(recover([directory])).rejects.toMatchObject({
          code: 'REFUSED',
          message: expect.stringContaining(record),
          hint: expect.stringMatching(/file/),
          details: { image: record, offsetBytes: expect.any(Number) },
        });
        expect(await contentOf(directory, record)).toEqual(before);
        // Named by hand, another is taken, or made.
        expect(await recover([directory], `${record}.new`)).toMatchObject({ resyncedStripes: STRIPES });
      });
    },
  );

  it.each([
    ['a member of the volume itself', 4096, ({ images }: FileVolume) => images[1]!],
    ['too short', 4096, ({ record }: FileVolume) => record],
    ['no file', undefined, () => folder],
  ])('that is %s: status shows the array and what is wrong, read reads, write is refused', async (...row) => {
    const [what, offsetBytes, nameOf] = row;
    await withSeed(async (random) => {
      const volume = await cutVolume(random);
      await recover([volume.directory]);
      if (what === 'too short') await truncate(volume.record, 4096);
      const before = await contentOf(volume.directory, volume.record);
      const named = ['--record', nameOf(volume)];
      const status = await runJson(['status', volume.directory, ...named]);
      expect(status).toMatchObject({
        exitCode: 0,
        json: { result: { state: 'clean', members: [{}, {}, {}] } },
      });
      expect(status.json.result?.problems).toMatchObject([
        { code: 'RECORD_FILE', message: expect.stringContaining(named[1]!) },
      ]);
      const read = await runHoldfast(['read', volume.directory, '--length', '4096', ...named]);
      expect(read).toMatchObject({ exitCode: 0, stderr: expect.stringContaining(named[1]!) });
      const checked = await runJson(['fsck', '-p', volume.directory, ...named]);
      expect(checked.exitCode).toBe(4);
      expect(checked.json.result?.findings).toMatchObject([
        { code: 'RECORD_FILE_UNUSABLE', repaired: false },
      ]);
      const written = await runJson(['write', volume.directory, ...named], { input: 'x' });
      expect(written.exitCode).toBe(1);
      expect(written.json.error?.message).toContain(named[1]!);
      expect(written.json.error?.details).toMatchObject({ image: named[1]! });
      expect(written.json.error?.details.offsetBytes).toBe(offsetBytes);
      expect(written.json.error?.hint).not.toBe('');
      expect(await contentOf(volume.directory, volume.record)).toEqual(before);
    });
  });

  it('of another volume exits with 1', async () => {
    await withSeed(async (random) => {
      const [one, other] = [await cutVolume(random), await cutVolume(random)];
      const { exitCode, json } = await runJson(['recover', one.directory, '--record', other.record]);
      expect(exitCode).toBe(1);
      expect(json.error).toMatchObject({ code: 'REFUSED', details: { image: other.record } });
      expect(await recover([other.directory])).toMatchObject({ resyncedStripes: CUT.length });
    });
  });
});

describe('an array of the kernel that has no room for a record', () => {
  it.each(['clean-10', 'clean-090'])('(%s) has one in a file, or is resynced whole', async (name) => {
    await withSeed(async (random) => {
      const { devices } = await loadMetadata(name);
      const images = await Promise.all(
        devices.map(async (device, index) => {
          const path = join(folder, `${name}-${index}.img`);
          const bytes = new Uint8Array(device.size);
          await device.read(0, bytes);
          await writeFile(path, bytes);
          return path;
        }),
      );
      const status = await volumeStatus(images);
      expect(recordOf(status)).toMatchObject({
        kind: 'none',
        reason: expect.stringMatching(/version .* no room/),
      });
      // Of these only the metadata is there: what they hold is zeroes, and parity that is not.
      await cutAmidWrites({ images }, [1], random);
      await recover(images);
      const record = join(folder, `${name}.record`);
      await cutAmidWrites({ images }, [1, 3], random, record);
      expect(await volumeStatus(images, { record })).toMatchObject({ state: 'dirty', dirtyStripes: 2 });
      expect((await volumeStatus(images)).dirtyStripes).toBeGreaterThan(2);
      expect(await recover(images, record)).toMatchObject({ resyncedStripes: 2, correctedStripes: 2 });
      await cutAmidWrites({ images }, [1], random);
      const whole = await recover(images);
      expect(whole.resyncedStripes).toBeGreaterThan(2);
      expect(whole.correctedStripes).toBe(1);
    });
  });
});

/** Records on the members, and what somebody does to these while nobody has them open. */
async function cutThen(
  random: Parameters<typeof cutAmidWrites>[2],
  use: (devices: ImageFile[]) => Promise<void>,
): Promise<string> {
  const { directory, images } = await cutVolume(random, false);
  await withImages(images, use);
  return directory;
}

describe('records on the members', () => {
  it('are void when somebody else wrote a superblock: status says whose, and the whole is resynced', async () => {
    await withSeed(async (random) => {
      const directory = await cutThen(random, async (devices) => {
        const { superblock } = (await judgeDevices(devices)).slots[1]!;
        const other = changeSuperblock(superblock!, { stamp: 0n });
        await devices[1]!.write(other.superOffset, superblockBytes(other));
      });
      const { exitCode, stdout } = await runHoldfast(['status', directory]);
      expect(exitCode).toBe(3);
      expect(stdout).toMatch(/not used \(the superblock of .*member-1\.img was written by somebody else/);
      expect(await recover([directory])).toMatchObject(WHOLE);
    });
  });

  it('of which one copy of the newest is damaged count still', async () => {
    await withSeed(async (random) => {
      const directory = await cutThen(random, async (devices) => {
        const { generation } = await newestOn(devices);
        const copy = (await recordsOn(devices)).find(({ record }) => record.generation === generation)!;
        const { device, offset, slotBytes } = (await placesOf(devices))[copy.member]!;
        await device.write(offset + copy.slot * slotBytes, random.bytes(4096));
      });
      expect(recordOf(await volumeStatus([directory])).verdict).toBe('valid');
      expect(await recover([directory])).toMatchObject({ resyncedStripes: CUT.length });
    });
  });

  it('of which both copies of the newest are gone, and a later one tells of it, are lost: the whole is resynced', async () => {
    await withSeed(async (random) => {
      const directory = await cutThen(random, async (devices) => {
        const record = await newestOn(devices);
        const { generation } = record;
        const copies = (await recordsOn(devices)).filter((copy) => copy.record.generation === generation);
        const next = { ...record, generation: generation + 1n, follows: generation };
        for (const { member, slot } of copies) await putRecord(devices, [member, slot], next, 512);
        for (const { member, slot } of copies) {
          const { device, offset, slotBytes } = (await placesOf(devices))[member]!;
          await device.write(offset + slot * slotBytes + 512, random.bytes(512));
        }
      });
      const status = await volumeStatus([directory]);
      expect(status).toMatchObject({ state: 'dirty', dirtyStripes: STRIPES });
      expect(recordOf(status)).toMatchObject({
        verdict: 'lost',
        reason: expect.stringMatching(/generation \d+ is not/),
      });
      expect(await recover([directory])).toMatchObject(WHOLE);
    });
  });

  it('are none where they are of nobody: the gap may hold anything', async () => {
    await withSeed(async (random) => {
      const directory = await cutThen(random, async (devices) => {
        for (const { device, offset, slotBytes } of await placesOf(devices))
          await device.write(offset, random.bytes(2 * slotBytes));
      });
      expect(await volumeStatus([directory])).toMatchObject({ state: 'dirty', dirtyStripes: STRIPES });
      expect(await recover([directory])).toMatchObject(WHOLE);
    });
  });
});
