/** The state at a backup is the overlay of its chain: held against a plain model, in random chains. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BackupReader, openSet, SetWriter, verifyBackup } from '../../../src/snapshot/set/index.js';
import { withSeed } from '../../support/devices/seeded-random.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { allOf, BLOCK_BYTES, change, makeBackup } from './sets.js';

const folder = await temporaryFolder();

async function stateAt(directory: string, name: string): Promise<Uint8Array> {
  const reader = await BackupReader.open(await openSet(directory), name);
  try {
    const bytes = new Uint8Array(reader.size).fill(0xaa);
    await reader.read(0, bytes);
    return bytes;
  } finally {
    await reader.close();
  }
}

describe('a chain of backups', () => {
  it('reads at each of them as the volume was then', () =>
    withSeed(async (random) => {
      for (let round = 0; round < 6; round++) {
        const directory = join(folder, `chain-${round}`);
        const sizeBytes = 60 * BLOCK_BYTES + 512 * random.below(8);
        const chunkBytes = BLOCK_BYTES * random.pick([1, 4, 16]);
        const model = random.bytes(sizeBytes);
        model.fill(0, 10 * BLOCK_BYTES, 25 * BLOCK_BYTES);
        const states: Uint8Array[] = [];
        for (let n = 0; n < 6; n++) {
          const changes = n === 0 ? allOf(model, random) : change(model, random);
          const since = n === 0 ? null : `${n - 1}`;
          await makeBackup(directory, { name: `${n}`, since, sizeBytes, chunkBytes }, changes);
          states.push(model.slice());
        }
        for (const [n, state] of states.entries())
          expect(Buffer.compare(await stateAt(directory, `${n}`), state), `round ${round}, backup ${n}`).toBe(
            0,
          );
      }
    }));

  it('reads any part as the whole has it, and tells what is data and what is not', () =>
    withSeed(async (random) => {
      const directory = join(folder, 'parts');
      const sizeBytes = 80 * BLOCK_BYTES;
      const model = random.bytes(sizeBytes);
      model.fill(0, 30 * BLOCK_BYTES, 50 * BLOCK_BYTES);
      await makeBackup(directory, { name: 'all', sizeBytes }, allOf(model, random));
      await makeBackup(directory, { name: 'more', since: 'all', sizeBytes }, change(model, random));
      const reader = await BackupReader.open(await openSet(directory), 'more');
      for (let n = 0; n < 200; n++) {
        const offset = random.below(sizeBytes);
        const length = random.below(sizeBytes - offset);
        const bytes = [new Uint8Array(length >> 1), new Uint8Array(length - (length >> 1))];
        await reader.read(offset, bytes);
        expect(Buffer.compare(Buffer.concat(bytes), model.subarray(offset, offset + length))).toBe(0);
        let at = offset;
        for (const extent of await reader.extents(offset, length)) {
          expect(extent.offset).toBe(at);
          at += extent.length;
          if (extent.kind !== 'data')
            expect(model.subarray(extent.offset, at).every((byte) => byte === 0)).toBe(true);
        }
        expect(at).toBe(offset + length);
      }
      await expect(reader.write(0, new Uint8Array(1))).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
      await expect(reader.read(sizeBytes, new Uint8Array(1))).rejects.toMatchObject({ code: 'OUT_OF_RANGE' });
      await reader.close();
    }));

  it('stores no zeroes, and an increment only what it was given', async () => {
    const directory = join(folder, 'sizes');
    const sizeBytes = 1024 * BLOCK_BYTES;
    const full = await makeBackup(directory, { name: 'full', sizeBytes }, [
      { offset: 0, length: BLOCK_BYTES, content: new Uint8Array(BLOCK_BYTES).fill(1) },
      { offset: BLOCK_BYTES, length: 500 * BLOCK_BYTES, content: new Uint8Array(500 * BLOCK_BYTES) },
    ]);
    expect(full.dataBytes).toBe(BLOCK_BYTES);
    await makeBackup(directory, { name: 'less', since: 'full', sizeBytes }, [
      { offset: 0, length: 1000 * BLOCK_BYTES, content: null },
    ]);
    const set = await openSet(directory);
    expect(await set.list()).toMatchObject([
      { name: 'full', state: 'good', parent: null, copiedBytes: 501 * BLOCK_BYTES, dataBytes: BLOCK_BYTES },
      { name: 'less', state: 'good', parent: 'full', copiedBytes: 0, dataBytes: 0 },
    ]);
    expect((await stateAt(directory, 'less')).every((byte) => byte === 0)).toBe(true);
  });

  it('refuses a byte that is put twice, and what is no whole blocks', async () => {
    const writer = await SetWriter.create(join(folder, 'twice'), {
      ...{ name: 'one', since: null, sizeBytes: 4 * BLOCK_BYTES, label: 'volume' },
    });
    await expect(writer.put(512, new Uint8Array(512))).rejects.toThrow(RangeError);
    await expect(writer.put(0, new Uint8Array(5 * BLOCK_BYTES))).rejects.toThrow(RangeError);
    await writer.put(0, new Uint8Array(2 * BLOCK_BYTES).fill(1));
    await writer.put(BLOCK_BYTES, new Uint8Array(BLOCK_BYTES).fill(2));
    await expect(writer.finish()).rejects.toThrow('twice');
    await writer.abandon('failed', 'a byte was put twice');
    expect(await (await openSet(join(folder, 'twice'))).list()).toMatchObject([
      { state: 'failed', reason: 'a byte was put twice', dataBytes: 0 },
    ]);
  });
});

describe('a terabyte with a thousand pieces', () => {
  it('is opened, read and verified for what is in it', async () => {
    const directory = join(folder, 'terabyte');
    const sizeBytes = 1024 ** 4;
    const step = sizeBytes / 1000 - ((sizeBytes / 1000) % BLOCK_BYTES);
    const content = new Uint8Array(BLOCK_BYTES);
    const startedMs = performance.now();
    const changes = Array.from({ length: 1000 }, (_, n) => ({
      ...{ offset: n * step, length: BLOCK_BYTES },
      content: content.slice().fill((n % 255) + 1),
    }));
    await makeBackup(directory, { name: 'all', sizeBytes }, changes);
    await makeBackup(directory, { name: 'less', since: 'all', sizeBytes }, [
      { offset: step, length: sizeBytes - step - (sizeBytes % step), content: null },
    ]);
    const reader = await BackupReader.open(await openSet(directory), 'all');
    expect(await verifyBackup(reader)).toMatchObject({ checkedPieces: 1000, damaged: [] });
    await reader.read(700 * step, content);
    expect(content[17]).toBe((700 % 255) + 1);
    expect(await reader.extents(0, sizeBytes)).toHaveLength(2000);
    await reader.close();
    const less = await BackupReader.open(await openSet(directory), 'less');
    expect((await less.extents(0, sizeBytes)).filter(({ kind }) => kind === 'data').length).toBeLessThan(4);
    await less.close();
    // Some tenths of a second alone; a pass over a terabyte would take minutes.
    expect(performance.now() - startedMs).toBeLessThan(20_000);
  });
});
