/** A volume, its secondary behind a server, and that one's own secondary: as a user has them, each command a process. */
import { randomBytes } from 'node:crypto';
import { cp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { withSeed } from '../support/devices/seeded-random.js';
import { ServedPair } from '../support/replication/served-pair.js';
import { ok, runJson } from '../support/run-holdfast.js';

const KIB = 1024;
const MIB = 1024 * KIB;

interface ReplicaTold {
  readonly name: string;
  readonly state: string;
  readonly reason: string | null;
  readonly dirtyBlocks: number;
}

class Chain {
  private constructor(
    readonly pair: ServedPair,
    readonly third: string,
  ) {}

  static async make(flags: string[] = []): Promise<Chain> {
    const pair = await ServedPair.make({ flags });
    const third = join(pair.folder, 'third.img');
    await ok('replica', 'add', pair.second, '--to', third);
    const chain = new Chain(pair, third);
    await chain.inSync();
    return chain;
  }

  /** All three. */
  async inSync(): Promise<void> {
    await ok('replica', 'sync', this.pair.volume);
    await ok('replica', 'sync', this.pair.second);
  }

  async expectAlike(): Promise<void> {
    await this.pair.expectAlike();
    expect((await readFile(this.third)).equals(await readFile(this.pair.second))).toBe(true);
  }

  async told(): Promise<ReplicaTold> {
    const { json } = await runJson(['replica', 'status', this.pair.second]);
    return (json.result as { replicas: ReplicaTold[] }).replicas[0]!;
  }
}

const ROUNDS = 3;
const REGIONS = 5;
const REGION_BYTES = 192 * KIB;

/** What it would be as a volume now. Nobody has it open. */
async function promotedCopy(image: string, folder: string): Promise<Buffer> {
  const copy = join(folder, 'copy.img');
  for (const suffix of ['', '.holdfast']) {
    await rm(`${copy}${suffix}`, { recursive: true, force: true });
    await cp(`${image}${suffix}`, `${copy}${suffix}`, { recursive: true });
  }
  await ok('replica', 'promote', copy, '--yes');
  return readFile(copy);
}

/** Regions were written one after another: where one has begun to be new, all before it are, and all else is as before. */
function expectInOrder(found: Buffer, before: Buffer, after: Buffer): void {
  const part = (bytes: Buffer, region: number) =>
    bytes.subarray(MIB + region * REGION_BYTES, MIB + (region + 1) * REGION_BYTES);
  const is = (bytes: Buffer) =>
    Array.from({ length: REGIONS }, (_, region) => part(found, region).equals(part(bytes, region)));
  const [old, whole] = [is(before), is(after)];
  const begun = old.lastIndexOf(false);
  expect({ old, whole, inOrder: whole.slice(0, Math.max(0, begun)).every(Boolean) }).toMatchObject({
    inOrder: true,
  });
  const rest = (bytes: Buffer) => [bytes.subarray(0, MIB), bytes.subarray(MIB + REGIONS * REGION_BYTES)];
  expect(Buffer.concat(rest(found)).equals(Buffer.concat(rest(before)))).toBe(true);
}

describe('a secondary of a secondary', { timeout: 300_000 }, () => {
  it('is made while that is served, and gets what the first volume writes', async () => {
    const chain = await Chain.make();
    await chain.expectAlike();
    const { pair } = chain;
    await pair.write(3 * MIB + 100, randomBytes(700 * KIB));
    await pair.write(3 * MIB + 400 * KIB, randomBytes(5000));
    await chain.inSync();
    await chain.expectAlike();
    expect(await chain.told()).toMatchObject({ name: 'replica-1', state: 'in-sync', dirtyBlocks: 0 });
    expect((await runJson(['replica', 'status', pair.second])).exitCode).toBe(0);
    const verified = await ok('replica', 'verify', pair.second);
    expect(verified).toMatchObject({ differingBlocks: 0 });
  });

  it('is a moment of the first volume when it is promoted, and the other two go on', async () => {
    const chain = await Chain.make();
    const { pair, third } = chain;
    const before = await pair.content();
    await ok('replica', 'pause', pair.second, '--name', 'replica-1');
    await pair.write(MIB, randomBytes(64 * KIB));
    await ok('replica', 'sync', pair.volume);
    expect(await chain.told()).toMatchObject({ state: 'paused', dirtyBlocks: 16 });
    await ok('replica', 'promote', third, '--yes');
    expect((await readFile(third)).equals(before)).toBe(true);
    await pair.expectAlike();
    const { json } = await runJson(['replica', 'resume', pair.second, '--name', 'replica-1']);
    expect(json.error).toMatchObject({ code: 'REFUSED', message: expect.stringContaining('was promoted') });
  });

  it('gets what it lacks, and nothing else, when the server between was killed', async () => {
    const chain = await Chain.make();
    const { pair } = chain;
    await pair.kill();
    await pair.write(2 * MIB, randomBytes(12 * KIB));
    await pair.start();
    await chain.inSync();
    await chain.expectAlike();
    const told = await chain.told();
    expect(told.state).toBe('in-sync');
  });

  it('is away, and says why, while that one is being made like its primary', async () => {
    const chain = await Chain.make(['--rate', '1MiB']);
    const { pair, third } = chain;
    const before = await readFile(third);
    await pair.kill();
    await pair.write(4 * MIB, randomBytes(8 * MIB));
    await pair.start();
    const syncing = ok('replica', 'sync', pair.volume);
    const why = expect.stringContaining('made like its primary');
    await vi.waitFor(async () => expect(await chain.told()).toMatchObject({ reason: why }), 30_000);
    expect(await chain.told()).toMatchObject({ state: 'unsynchronized' });
    const { json } = await runJson(['replica', 'sync', pair.second]);
    expect(json.error).toMatchObject({ message: why });
    expect((await readFile(third)).equals(before)).toBe(true);
    await syncing;
    await chain.inSync();
    await chain.expectAlike();
  });

  it('is a moment of the first volume, in its order, whenever the server between is killed', () =>
    withSeed(async (random) => {
      const chain = await Chain.make();
      const { pair, third } = chain;
      for (let round = 0; round < ROUNDS; round++) {
        const before = await pair.content();
        const writing = (async () => {
          for (let region = 0; region < REGIONS; region++)
            await pair.write(MIB + region * REGION_BYTES, random.bytes(REGION_BYTES));
        })();
        await setTimeout(random.below(1500));
        await pair.kill();
        const promoted = await promotedCopy(third, pair.folder);
        await writing;
        expectInOrder(promoted, before, await pair.content());
        await pair.start();
        await chain.inSync();
        await chain.expectAlike();
      }
    }));

  it('stays one when that is promoted, also if it was away', async () => {
    const chain = await Chain.make();
    const { pair, third } = chain;
    await ok('replica', 'pause', pair.second, '--name', 'replica-1');
    await pair.write(5 * MIB, randomBytes(8 * KIB));
    await ok('replica', 'sync', pair.volume);
    await ok('replica', 'promote', pair.second, '--yes');
    await pair.kill();
    await pair.write(6 * MIB, randomBytes(4096), pair.second);
    expect(await chain.told()).toMatchObject({ state: 'paused', dirtyBlocks: 3 });
    await ok('replica', 'resume', pair.second, '--name', 'replica-1');
    await ok('replica', 'sync', pair.second);
    expect((await readFile(third)).equals(await readFile(pair.second))).toBe(true);
    expect((await readFile(third)).equals(await pair.content())).toBe(false);
  });
});

describe('what is refused', { timeout: 300_000 }, () => {
  it('without a server, and by a primary here, whose writes would not be tracked for it', async () => {
    const chain = await Chain.make();
    const { pair } = chain;
    await pair.kill();
    const unserved = await runJson(['replica', 'add', pair.second, '--to', join(pair.folder, 'fourth.img')]);
    expect(unserved.json.error).toMatchObject({
      code: 'REFUSED',
      hint: expect.stringContaining('serve --secondary'),
    });
  });

  it('of a place of which nothing was made yet', async () => {
    const pair = await ServedPair.make();
    await ok('replica', 'remove', pair.volume, '--name', 'replica-1', '--yes');
    await ok('replica', 'promote', pair.second, '--yes');
    const refused = await runJson(['replica', 'add', pair.second, '--to', join(pair.folder, 'third.img')]);
    expect(refused.json.error).toMatchObject({ message: expect.stringContaining('a volume of its own') });
  });
});
