/**
 * Both sides were written: which blocks, is known on both; either side can be given up, and then those blocks are copied and no
 * others. The power is cut at each write on the way there; what is left of those that are volatile a seed chooses.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { injectPowerCut } from '../../src/crash/inject.js';
import { openSecondary } from '../../src/replication/secondary/index.js';
import { promoteSecondary } from '../../src/volume/index.js';
import { explainReplicas } from '../../src/volume/replication/generations/explain.js';
import { openParts } from '../../src/volume/replication/secondary/image-place.js';
import { withSeed } from '../support/devices/seeded-random.js';
import { BLOCK_BYTES, Diverged, type Tracked } from '../support/replication/diverged.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const folder = await temporaryFolder();
let made = 0;

async function place(): Promise<string> {
  const name = join(folder, `pair-${made++}`);
  await mkdir(join(name, 'live'), { recursive: true });
  return name;
}

async function expectAlike(pair: Diverged, winner: Buffer): Promise<void> {
  const { primary, second } = await pair.contents();
  expect(Buffer.compare(primary, winner)).toBe(0);
  expect(Buffer.compare(second, winner)).toBe(0);
}

describe('both sides written since a promote', { timeout: 240_000 }, () => {
  it('are told apart by block, and from a mere outage', async () => {
    const pair = await Diverged.inSync(await place());
    await pair.with(
      pair.primary,
      async (volume) => void (await volume.tracking.replicas!.pause('replica-1')),
    );
    await pair.write(pair.primary, 50, 2);
    const outage = await explainReplicas(pair.primary, []);
    expect(outage.replicas).toMatchObject([
      { state: 'paused', relation: 'same', differingBlocks: 2, awaySinceMs: expect.any(Number) },
    ]);
    await promoteSecondary(pair.second);
    await pair.write(pair.second, 51, 3);
    const { replicas } = await explainReplicas(pair.primary, []);
    const range = (block: number, count: number) => ({
      offsetBytes: block * BLOCK_BYTES,
      lengthBytes: count * BLOCK_BYTES,
    });
    expect(replicas).toMatchObject([
      {
        ...{ state: 'diverged', relation: 'diverged', differingBlocks: 4 },
        here: { generation: { number: 1 }, written: { blocks: 2, ranges: [range(50, 2)] } },
        there: {
          ...{ state: 'promoted', generation: { number: 2 }, parent: { number: 1 } },
          ...{ written: { blocks: 3, ranges: [range(51, 3)] }, putBack: { blocks: 0 } },
        },
      },
    ]);
    expect(replicas[0]!.there!.parent?.id).toBe(replicas[0]!.here.generation.id);
    expect((await explainReplicas(pair.second, [])).former).toMatchObject({ written: { blocks: 3 } });
  });

  it('the old primary becomes a secondary: its blocks and those written here are copied, nothing else', async () => {
    const pair = await Diverged.make(await place());
    const { second } = await pair.contents();
    await pair.with(pair.second, async (volume) => {
      expect(await pair.rejoin(volume)).toBe(5);
      // 10 to 12 here, 12 to 15 and 100 there.
      expect(await pair.sync(volume)).toBe(7);
    });
    await expectAlike(pair, second);
    await expect(pair.write(pair.primary, 0, 1)).rejects.toMatchObject({ code: 'REFUSED' });
    await pair.write(pair.second, 200, 1);
    await expectAlike(pair, (await pair.contents()).second);
  });

  it('the promoted one becomes a secondary again, and the same are copied', async () => {
    const pair = await Diverged.make(await place());
    const { primary } = await pair.contents();
    await pair.with(pair.primary, async (volume) => {
      await expect(volume.tracking.replicas!.resume('replica-1')).rejects.toMatchObject({
        code: 'REFUSED',
        details: { changedBlocksThere: 3, changedBlocksHere: 5 },
      });
      await volume.tracking.replicas!.discard('replica-1');
      expect(await pair.sync(volume)).toBe(7);
    });
    await expectAlike(pair, primary);
    await pair.write(pair.primary, 200, 1);
    await expectAlike(pair, (await pair.contents()).primary);
    await expect(pair.write(pair.second, 0, 1)).rejects.toMatchObject({ code: 'REFUSED' });
  });

  it('fails over, back, and over again', async () => {
    const pair = await Diverged.make(await place());
    await pair.with(pair.second, async (volume) => {
      await pair.rejoin(volume);
      await pair.sync(volume);
    });
    expect(await promoteSecondary(pair.primaryImage)).toMatchObject({ generation: 3 });
    await pair.write(pair.primary, 30, 1);
    await pair.write(pair.second, 40, 1);
    const { primary } = await pair.contents();
    await pair.with(pair.primary, async (volume) => {
      const { discardedBlocks } = await volume.tracking.replicas!.rejoin({
        ...{ to: pair.second, mode: 'async', onLoss: 'continue', force: false, limits: {}, usesAll: true },
      });
      expect(discardedBlocks).toBe(1);
      expect(await pair.sync(volume)).toBe(2);
    });
    await expectAlike(pair, primary);
  });

  it('what promote puts back is copied again, though the old primary takes it for synchronized', async () => {
    const pair = await Diverged.inSync(await place());
    const bytes = Buffer.alloc(BLOCK_BYTES, 7);
    // A resync that has copied a block, which both sides have flushed, and has not ended.
    await pair.writeRaw(pair.primaryImage, 5, bytes);
    const { parts, close } = await openParts(pair.second);
    const device = await openSecondary(parts);
    await device.beginResync();
    await device.write(5 * BLOCK_BYTES, bytes);
    await device.flush();
    await device.close();
    await close();
    await promoteSecondary(pair.second);
    const { primary, second } = await pair.contents();
    expect(Buffer.compare(primary, second)).not.toBe(0);
    const { replicas } = await explainReplicas(pair.primary, []);
    expect(replicas[0]).toMatchObject({ there: { putBack: { blocks: 1 }, written: { blocks: 0 } } });
    await pair.with(pair.primary, async (volume) => {
      await volume.tracking.replicas!.discard('replica-1');
      expect(await pair.sync(volume)).toBe(1);
    });
    await expectAlike(pair, primary);
  });

  it('a promoted volume has secondaries of its own, and is not made one while it has', async () => {
    const pair = await Diverged.make(await place());
    const third = `${pair.second}.third`;
    const options = { mode: 'async', onLoss: 'continue', force: false, limits: {}, usesAll: true } as const;
    await pair.with(pair.second, async (volume) => {
      await volume.tracking.replicas!.add({ ...options, to: third });
      await pair.sync(volume);
    });
    await pair.write(pair.second, 33, 2);
    const { second } = await pair.contents();
    expect(Buffer.compare(await readFile(third), second)).toBe(0);
    await pair.with(pair.primary, async (volume) => {
      await expect(volume.tracking.replicas!.discard('replica-1')).rejects.toMatchObject({ code: 'REFUSED' });
    });
    await pair.with(
      pair.second,
      async (volume) => void (await volume.tracking.replicas!.remove('replica-1')),
    );
    await pair.with(pair.primary, async (volume) => {
      await volume.tracking.replicas!.discard('replica-1');
      await pair.sync(volume);
    });
  });
});

describe('power cuts', { timeout: 600_000 }, () => {
  it('of the old primary becoming a secondary', () =>
    cuts('second', async (pair, volume) => {
      if (volume.tracking.replicas!.list().length === 0) await pair.rejoin(volume);
      await pair.sync(volume);
    }));

  it('of the promoted one becoming a secondary again', () =>
    cuts('primary', async (pair, volume) => {
      const [only] = (await explainReplicas(pair.primary, [])).replicas;
      if (only!.relation !== 'same') await volume.tracking.replicas!.discard(only!.name);
      await pair.sync(volume);
    }));

  it('of promote: what is written after it is tracked, whenever it was cut', () =>
    withSeed(async (random) => {
      const pair = await Diverged.inSync(await place());
      await pair.keep();
      const { second: point } = await pair.contents();
      const writes = await writesOf(() => promoteSecondary(pair.second));
      for (let number = 1; number <= writes; number++) {
        await pair.putBack();
        await injectPowerCut(() => promoteSecondary(pair.second), {
          ...{ point: { at: 'write', number }, seed: random.below(1e9), profile: 'sector-512' },
        });
        await promoteSecondary(pair.second);
        expect(Buffer.compare((await pair.contents()).second, point)).toBe(0);
        await pair.write(pair.second, 20, 1);
        await pair.write(pair.primary, 21, 1);
        const { primary } = await pair.contents();
        await pair.with(pair.primary, async (volume) => {
          await volume.tracking.replicas!.discard('replica-1');
          expect(await pair.sync(volume)).toBe(2);
        });
        await expectAlike(pair, primary);
      }
    }));
});

/** The same work again after the cut makes both alike, as the winner was before it. */
function cuts(
  winner: 'primary' | 'second',
  work: (pair: Diverged, volume: Tracked) => Promise<void>,
): Promise<void> {
  return withSeed(async (random) => {
    const pair = await Diverged.make(await place());
    await pair.keep();
    const content = (await pair.contents())[winner];
    const image = () => (winner === 'primary' ? pair.primaryImage : pair.second);
    const run = () => pair.withBare(image(), (volume) => work(pair, volume));
    const writes = await writesOf(run);
    await expectAlike(pair, content);
    for (let number = 1; number <= writes; number++) {
      await pair.putBack();
      await injectPowerCut(run, {
        ...{ point: { at: 'write', number }, seed: random.below(1e9), profile: 'sector-512' },
      });
      // The winner goes on meanwhile.
      await pair.withBare(image(), ({ device }) => device.write(77 * BLOCK_BYTES, random.bytes(BLOCK_BYTES)));
      const goneOn = (await pair.contents())[winner];
      expect(
        Buffer.compare(goneOn.subarray(0, 77 * BLOCK_BYTES), content.subarray(0, 77 * BLOCK_BYTES)),
      ).toBe(0);
      await run();
      await expectAlike(pair, goneOn);
    }
  });
}

async function writesOf(work: () => Promise<unknown>): Promise<number> {
  const ended = await injectPowerCut(work, {
    ...{ point: { at: 'write', number: Number.MAX_SAFE_INTEGER }, seed: 1, profile: 'sector-512' },
  });
  if (ended.outcome === 'cut') throw new Error('nobody asked for a cut');
  return ended.writes;
}
