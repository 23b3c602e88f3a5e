/**
 * Undo files that a crash has torn, that rotted, or that are none: what is whole before a tear counts, damage in what
 * had been durable is told from a tear, and nothing makes the reader fail otherwise.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32c } from '@node-rs/crc32';
import { beforeAll, describe, expect, it } from 'vitest';
import { UNDO_ENTRY, UNDO_HEADER } from '../../src/check/undo/fields-undo.js';
import { readUndo, type UndoContent } from '../../src/check/undo/read-undo.js';
import { assertRevertable } from '../../src/check/undo/revert.js';
import { UndoImages } from '../../src/check/undo/undo-device.js';
import { UndoFile } from '../../src/check/undo/undo-file.js';
import { MemoryDevice } from '../../src/device/memory.js';
import { SeededRandom, withSeed } from '../support/devices/seeded-random.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const UUID = '00000000:00000000:00000000:0000000a';
const folder = await temporaryFolder();
let count = 0;
let whole: Buffer;
let content: UndoContent;
/** Where each entry ends. */
const ends: number[] = [];

beforeAll(async () => {
  const undo = await UndoFile.create(join(folder, 'whole'), UUID);
  const random = new SeededRandom(1);
  const image = new MemoryDevice(64 * 1024, { name: 'image' });
  await image.write(0, random.bytes(32 * 1024));
  const device = new UndoImages(undo, '1.2').over(image);
  ends.push(undo.sizeBytes);
  // A superblock's place, some content, zeroes, and some that come together.
  for (const [offset, length] of [
    [4096, 512],
    [8192, 4096],
    [40960, 1024],
    [16384, 1024],
  ] as const) {
    await device.write(offset, random.bytes(length));
    ends.push(undo.sizeBytes);
  }
  // The first goes alone, and the other two together after it.
  await Promise.all([20480, 24576, 28672].map((offset) => device.write(offset, random.bytes(512))));
  ends.push(undo.sizeBytes);
  await undo.close();
  whole = await readFile(undo.path);
  content = await readUndo(undo.path);
  expect(content.stretches).toHaveLength(7);
  expect(content.images[0]!.hashes.size).toBe(2);
});

async function fileOf(bytes: Uint8Array): Promise<string> {
  const path = join(folder, `undo-${count++}`);
  await writeFile(path, bytes);
  return path;
}

function isPrefix({ stretches }: UndoContent): boolean {
  return stretches.every(
    (stretch, index) => JSON.stringify(stretch) === JSON.stringify(content.stretches[index]),
  );
}

describe('a file that ends early', () => {
  it('has what is whole before its end, wherever that is', async () => {
    let most = 0;
    for (let end = UNDO_HEADER.sizeBytes; end <= whole.length; end += end % 512 === 64 ? 448 : 64) {
      const torn = await readUndo(await fileOf(whole.subarray(0, end)));
      expect(isPrefix(torn), `cut at ${end}`).toBe(true);
      expect(torn.damagedAt, `cut at ${end}`).toBeNull();
      expect(torn.stretches.length).toBeGreaterThanOrEqual(most);
      most = torn.stretches.length;
    }
    expect(most).toBe(content.stretches.length);
  });

  it.each([1, 63])('amid the head of an entry says so', async (more) => {
    for (const end of ends.slice(0, -1)) {
      const torn = await readUndo(await fileOf(whole.subarray(0, end + more)));
      expect(torn).toMatchObject({ isTorn: true, damagedAt: null });
      expect((await readUndo(await fileOf(whole.subarray(0, end)))).isTorn).toBe(false);
    }
  });

  it('within its header is none', async () => {
    for (const end of [0, 1, 511]) {
      await expect(readUndo(await fileOf(whole.subarray(0, end)))).rejects.toMatchObject({ code: 'REFUSED' });
    }
  });
});

describe('a tail that was not written', () => {
  it.each(['zeroes', 'noise'])('and holds %s is left out', async (what) => {
    await withSeed(async (random) => {
      const from = random.pick(ends.slice(0, -1));
      const bytes = Buffer.from(whole);
      bytes.set(
        what === 'zeroes' ? new Uint8Array(bytes.length - from) : random.bytes(bytes.length - from),
        from,
      );
      const torn = await readUndo(await fileOf(bytes));
      expect(isPrefix(torn)).toBe(true);
      expect(torn).toMatchObject({ isTorn: true, damagedAt: null });
    });
  });

  it('of entries of one batch is no damage: the later may be there without the earlier', async () => {
    const bytes = Buffer.from(whole);
    // The first of the two that came together; the one before has two sectors, as each of them.
    bytes.fill(0, ends.at(-2)! + 1024, ends.at(-2)! + 1536);
    const torn = await readUndo(await fileOf(bytes));
    expect(torn.damagedAt).toBeNull();
    expect(torn.stretches).toHaveLength(content.stretches.length - 2);
  });
});

describe('damage', () => {
  it('in what had been durable is found, and refused without --force', async () => {
    for (const end of ends.slice(0, -2)) {
      // What follows the head of an entry that has nothing more is of no use.
      const hasPayload = UNDO_ENTRY.at(whole, end).number('payload_bytes') > 0;
      for (const at of hasPayload ? [end + 4, end + 70] : [end + 4]) {
        const bytes = Buffer.from(whole);
        bytes[at]! ^= 1;
        const damaged = await readUndo(await fileOf(bytes));
        expect(damaged.damagedAt, `at ${at}`).not.toBeNull();
        expect(damaged.damagedAt!).toBeLessThanOrEqual(at);
        const uuids = new Set([UUID]);
        expect(() => assertRevertable(damaged, uuids, { force: false })).toThrow(/is damaged at byte/);
        assertRevertable(damaged, uuids, { force: true });
      }
    }
  });

  it('of any byte is never taken for something that was kept', async () => {
    await withSeed(async (random) => {
      const bytes = Buffer.from(whole);
      const at = random.between(UNDO_HEADER.sizeBytes, bytes.length - 1);
      bytes[at]! ^= 1 << random.below(8);
      expect(isPrefix(await readUndo(await fileOf(bytes)))).toBe(true);
    });
  });

  it('of the header is refused', async () => {
    for (let at = 0; at < UNDO_HEADER.sizeBytes; at += 7) {
      const bytes = Buffer.from(whole);
      bytes[at]! ^= 1;
      await expect(readUndo(await fileOf(bytes))).rejects.toMatchObject({ code: 'REFUSED' });
    }
  });

  it('of fields that are sealed again never makes it fail otherwise', async () => {
    await withSeed(async (random) => {
      const bytes = Buffer.from(whole);
      const at = random.pick(ends.slice(0, -1));
      const field = random.pick(UNDO_ENTRY.fields.filter(({ name }) => name !== 'checksum'));
      const size = { u32: 4, u64: 8 }[field.type as 'u32' | 'u64'];
      const value = random.pick([0x00, 0xff, 0x80, 0x7f]);
      bytes.fill(value, at + field.offset, at + field.offset + size);
      bytes.writeUInt32LE(crc32c(bytes.subarray(at, at + 60)), at + 60);
      const found = await readUndo(await fileOf(bytes));
      for (const { offset, length } of found.stretches)
        expect(offset + length).toBeLessThanOrEqual(64 * 1024);
    });
  });
});

describe('a file of another kind', () => {
  it.each([
    ['version', 2, 'version 2'],
    ['incompat', 4, '0x4'],
  ] as const)('with another %s is refused, and that is named', async (name, value, said) => {
    const bytes = Buffer.from(whole);
    UNDO_HEADER.at(bytes).setNumber(name, value);
    UNDO_HEADER.at(bytes).setNumber('checksum', crc32c(bytes.subarray(0, 508)));
    await expect(readUndo(await fileOf(bytes))).rejects.toMatchObject({
      code: 'REFUSED',
      message: expect.stringContaining(said),
    });
  });

  it('that is not there, or a directory, is said', async () => {
    await expect(readUndo(join(folder, 'nothing'))).rejects.toMatchObject({ code: 'IO_ERROR' });
    await expect(readUndo(folder)).rejects.toMatchObject({ code: 'IO_ERROR' });
  });

  it('of another volume is refused', async () => {
    const other = new Set(['00000000:00000000:00000000:0000000b']);
    expect(() => assertRevertable(content, other, { force: true })).toThrow(/undo file of another volume/);
  });
});

it('holds no superblock where one is looked for', () => {
  const places = content.stretches.flatMap(({ payloadAt }) => payloadAt ?? []);
  expect(places.map((at) => at % 512)).toEqual(places.map(() => 64));
  expect(places.length).toBeGreaterThan(3);
});
