/** Increments: they restore to what a full backup would, and keep the blocks that differ and no others. */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { BlockRange } from '../../../src/replication/blocks.js';
import { BlockMap } from '../../../src/replication/map/block-map.js';
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

/** The last block is short. */
function clear(bytes: Buffer, block: number): void {
  bytes.fill(0, block * BLOCK_BYTES, Math.min((block + 1) * BLOCK_BYTES, SIZE));
}

function filled(random: SeededRandom): { volume: Buffer; used: boolean[] } {
  const volume = Buffer.from(random.bytes(SIZE));
  const used = Array.from({ length: BLOCKS }, () => true);
  for (let block = 0; block < BLOCKS; block += random.between(1, 60))
    if (random.chance(0.3)) clear(volume, block);
  return { volume, used };
}

/** What the volume is to read as when it is restored: what is not in use is zeroes. */
function expected(volume: Buffer, used: readonly boolean[]): Buffer {
  const bytes = Buffer.from(volume);
  for (const [block, isUsed] of used.entries()) if (!isUsed) clear(bytes, block);
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
        else if (kind === 1) clear(volume, block);
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

const STATES = ['data', 'zeroes', 'unused'] as const;

/** A volume whose blocks go from state to state. What nobody uses may be written too: a filesystem says later that it uses it. */
class Model {
  readonly volume = Buffer.alloc(SIZE);
  readonly used = new BlockMap(BLOCKS);
  readonly #changedAt = new Array<number>(BLOCKS).fill(0);
  #step = 0;

  constructor(private readonly random: SeededRandom) {}

  /** To the moment of the next backup. */
  step(): void {
    this.#step += 1;
    for (let block = 0; block < BLOCKS; block++) {
      if (this.#step > 1 && this.random.chance(0.4)) continue;
      const state = this.random.pick(STATES);
      this.used[state === 'unused' ? 'clear' : 'set']({ from: block, count: 1 });
      const was = this.stateOf(block);
      if (state === 'zeroes' && was !== 'zeroes') this.#write(block, Buffer.alloc(bytesOf(block)));
      if (state === 'data' && (was === 'zeroes' || this.random.chance(0.3))) this.#writeData(block);
      if (state === 'unused' && this.random.chance(0.5)) this.#writeData(block);
      if (state === 'unused' && this.random.chance(0.2)) this.#write(block, Buffer.alloc(bytesOf(block)));
    }
  }

  changedSince(step: number): BlockMap {
    const changed = new BlockMap(BLOCKS);
    for (const [block, at] of this.#changedAt.entries())
      if (at > step) changed.set({ from: block, count: 1 });
    return changed;
  }

  stateOf(block: number): (typeof STATES)[number] {
    if (!this.used.has(block)) return 'unused';
    return this.bytes({ from: block, count: 1 }).every((byte) => byte === 0) ? 'zeroes' : 'data';
  }

  bytes({ from, count }: BlockRange): Buffer {
    return this.volume.subarray(from * BLOCK_BYTES, Math.min((from + count) * BLOCK_BYTES, SIZE));
  }

  #writeData(block: number): void {
    this.#write(block, Buffer.from(this.random.bytes(bytesOf(block))));
  }

  #write(block: number, content: Buffer): void {
    content.copy(this.volume, block * BLOCK_BYTES);
    this.#changedAt[block] = this.#step;
  }
}

/** As a backup does, of what was changed where that is noted, and without what cannot be read. What it is to restore to. */
async function backUpNoted(
  set: string,
  model: Model,
  {
    n,
    since,
    isNoted,
    unreadableShare,
    random,
  }: { n: number; since: number | null; isNoted: boolean; unreadableShare: number; random: SeededRandom },
): Promise<Buffer> {
  const name = `n${n}`;
  const writer = await SetWriter.create(set, {
    ...{ name, since: since === null ? null : `n${since}`, sizeBytes: SIZE, label: 'v' },
  });
  const increment =
    since === null ? null : new Increment(writer, await BackupReader.open(await openSet(set), `n${since}`));
  const wanted = increment !== null && isNoted ? increment.newlyUsed(model.used) : new BlockMap(BLOCKS);
  const changed = increment !== null && isNoted ? model.changedSince(since! + 1) : model.used;
  for (const run of changed.runs()) for (const part of model.used.runsWithin(run)) wanted.set(part);
  if (increment !== null) increment.isOfChanges = isNoted;
  const target = increment ?? writer;
  const state = Buffer.alloc(SIZE);
  for (const { from, count } of model.used.runs())
    model.bytes({ from, count }).copy(state, from * BLOCK_BYTES);
  const tellZero = ({ from, count }: BlockRange) =>
    target.zero(from * BLOCK_BYTES, model.bytes({ from, count }).length);
  for (const gap of model.used.gapsWithin({ from: 0, count: BLOCKS })) await tellZero(gap);
  const unreadable: BlockRange[] = [];
  for (let block = 0; block < BLOCKS; block++)
    if (wanted.has(block) && random.chance(unreadableShare)) unreadable.push({ from: block, count: 1 });
  for (const run of unreadable) wanted.clear(run);
  for (let from = 0; from < BLOCKS; from += CHUNK_BLOCKS)
    for (const run of wanted.runsWithin({ from, count: Math.min(CHUNK_BLOCKS, BLOCKS - from) }))
      await target.put(run.from * BLOCK_BYTES, model.bytes(run));
  for (const run of unreadable) {
    await tellZero(run);
    clear(state, run.from);
  }
  await target.finish();
  return state;
}

it('restores to the volume of each moment, whatever state a block goes to, of what was noted as changed too', {
  timeout: 60_000,
}, async () => {
  await withSeed(async (random) => {
    const seen = new Set<string>();
    for (let round = 0; round < 2; round++) {
      const set = join(await temporaryFolder(), 'set');
      const model = new Model(random);
      const states: Buffer[] = [];
      for (let n = 0; n < 7; n++) {
        const before = Array.from({ length: BLOCKS }, (_, block) => model.stateOf(block));
        model.step();
        if (n > 0) for (const [block, was] of before.entries()) seen.add(`${was}-${model.stateOf(block)}`);
        const since = n === 0 ? null : random.chance(0.8) ? n - 1 : random.below(n);
        const isNoted = random.chance(0.8);
        states.push(await backUpNoted(set, model, { n, since, isNoted, unreadableShare: 0.03, random }));
      }
      for (const [n, state] of states.entries())
        expect(Buffer.compare(await restored(set, `n${n}`), state), `round ${round}, n${n}`).toBe(0);
    }
    expect(seen.size).toBe(STATES.length ** 2);
  });
});

it('knows of each block whether the backup before used it', async () => {
  await withSeed(async (random) => {
    const set = join(await temporaryFolder(), 'set');
    const model = new Model(random);
    for (let n = 0; n < 5; n++) {
      model.step();
      const since = n === 0 ? null : n - 1;
      await backUpNoted(set, model, { n, since, isNoted: false, unreadableShare: 0, random });
      const reader = await BackupReader.open(await openSet(set), `n${n}`);
      const unused = new BlockMap(BLOCKS);
      for (const { offset, length } of reader.unused(0, SIZE))
        unused.set({ from: offset / BLOCK_BYTES, count: Math.ceil(length / BLOCK_BYTES) });
      await reader.close();
      for (let block = 0; block < BLOCKS; block++)
        expect(unused.has(block), `n${n}, block ${block}`).toBe(!model.used.has(block));
    }
  });
});
