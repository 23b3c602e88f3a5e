/** Increments: they restore to what a full backup would, and keep the blocks that differ and no others. */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { BackupReader, Increment, openSet, SetWriter } from '../../../src/snapshot/set/index.js';
import { type SeededRandom, withSeed } from '../../support/devices/seeded-random.js';
import { temporaryFolder } from '../../support/temporary-folder.js';

const BLOCK_BYTES = 4096;
const CHUNK_BLOCKS = 256;
const BLOCKS = 3 * CHUNK_BLOCKS + 10;
/** The last block is short. */
const SIZE = BLOCKS * BLOCK_BYTES - 512;

const bytesOf = (block: number) => Math.min(BLOCK_BYTES, SIZE - block * BLOCK_BYTES);

/** As a backup does: chunk by chunk the runs in use, and the rest as zeroes. Bytes of content that it has. */
async function backUp(
  set: string,
  {
    name,
    since,
    volume,
    used,
  }: { name: string; since: string | null; volume: Buffer; used: readonly boolean[] },
): Promise<number> {
  const writer = await SetWriter.create(set, { name, since, sizeBytes: SIZE, label: 'v' });
  const target =
    since === null ? writer : new Increment(writer, await BackupReader.open(await openSet(set), since));
  for (let at = 0; at < BLOCKS; ) {
    let end = at + 1;
    while (end < BLOCKS && used[end] === used[at] && end % CHUNK_BLOCKS !== 0) end += 1;
    const [start, stop] = [at * BLOCK_BYTES, Math.min(end * BLOCK_BYTES, SIZE)];
    if (used[at]) await target.put(start, volume.subarray(start, stop));
    else await target.zero(start, stop - start);
    at = end;
  }
  await target.finish();
  return writer.dataBytes;
}

async function restored(set: string, name: string): Promise<Buffer> {
  const reader = await BackupReader.open(await openSet(set), name);
  const bytes = Buffer.alloc(SIZE);
  await reader.read(0, bytes);
  await reader.close();
  return bytes;
}

function filled(random: SeededRandom): { volume: Buffer; used: boolean[] } {
  const volume = Buffer.from(random.bytes(SIZE));
  const used = Array.from({ length: BLOCKS }, () => true);
  for (let block = 0; block < BLOCKS; block += random.between(1, 60))
    if (random.chance(0.3)) volume.fill(0, block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
  return { volume, used };
}

/** What the volume is to read as when it is restored: what is not in use is zeroes. */
function expected(volume: Buffer, used: readonly boolean[]): Buffer {
  const bytes = Buffer.from(volume);
  for (const [block, isUsed] of used.entries())
    if (!isUsed) bytes.fill(0, block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
  return bytes;
}

it('restores to what was in use, along a chain of any changes', { timeout: 60_000 }, async () => {
  await withSeed(async (random) => {
    const set = join(await temporaryFolder(), 'set');
    const { volume, used } = filled(random);
    const states: Buffer[] = [];
    for (let n = 0; n < 6; n++) {
      for (let changes = random.below(40); changes > 0 && n > 0; changes--) {
        const block = random.below(BLOCKS);
        const kind = random.below(4);
        if (kind === 0) used[block] = !used[block];
        else if (kind === 1) volume.fill(0, block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
        else Buffer.from(random.bytes(bytesOf(block))).copy(volume, block * BLOCK_BYTES);
      }
      const since = n === 0 ? null : `n${random.below(n)}`;
      await backUp(set, { name: `n${n}`, since, volume, used });
      states.push(expected(volume, used));
    }
    for (const [n, state] of states.entries())
      expect(Buffer.compare(await restored(set, `n${n}`), state), `n${n}`).toBe(0);
  });
});

it('keeps the blocks that differ, and nothing where nothing does', async () => {
  await withSeed(async (random) => {
    const set = join(await temporaryFolder(), 'set');
    const { volume, used } = filled(random);
    await backUp(set, { name: 'full', since: null, volume, used });
    expect(await backUp(set, { name: 'same', since: 'full', volume, used })).toBe(0);
    for (const block of [3, 4, 300, 700])
      volume.fill(block % 251 || 1, block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
    expect(await backUp(set, { name: 'four', since: 'same', volume, used })).toBe(4 * BLOCK_BYTES);
    expect(await backUp(set, { name: 'none', since: 'four', volume, used })).toBe(0);
    for (let block = 100; block < 200; block++) used[block] = false;
    expect(await backUp(set, { name: 'freed', since: 'none', volume, used })).toBe(0);
    expect(Buffer.compare(await restored(set, 'freed'), expected(volume, used))).toBe(0);
  });
});
