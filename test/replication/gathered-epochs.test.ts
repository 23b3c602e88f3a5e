/**
 * Epochs that are gathered in memory: a block device as any other; what goes down goes down whole, one after another, and holds
 * what was called before its end; and what has failed is final.
 */
import { describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../src/device/contract.js';
import { MemoryDevice } from '../../src/device/memory.js';
import { GatheredEpochs, type TakesWhole } from '../../src/replication/gathered-epochs.js';
import type { WholeChange } from '../../src/replication/replicated-device.js';
import { epochCost } from '../../src/replication/secondary/index.js';
import { describeBlockDevice, errorOf, SMALLEST_SIZE, type Subject } from '../conformance/block-device.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';
import { Chain, gatherableBytes } from './support/chain.js';
import { Turnstile, turns } from './support/parts.js';
import { contentOf } from './support/stage.js';

const SECTOR_BYTES = 512;
const SECTORS = 64;
const MIB = 1024 * 1024;

/** What lies below: it notes each batch, and when it was flushed. */
class Lower implements TakesWhole {
  readonly name = 'lower';
  readonly size: number;
  readonly blockSize = SECTOR_BYTES;
  readonly readOnly = false;
  readonly faulty: FaultyDevice;
  readonly batches: (readonly WholeChange[])[] = [];
  readonly events: string[] = [];
  /** Batches wait at it. */
  readonly turnstile = new Turnstile();
  failure: unknown = null;

  constructor(size = SECTORS * SECTOR_BYTES, seed = 1) {
    this.size = size;
    this.faulty = new FaultyDevice(new MemoryDevice(size), { seed, maxDelayTurns: 2 });
  }

  read: BlockDevice['read'] = (...args) => this.faulty.read(...args);
  extents: BlockDevice['extents'] = (...args) => this.faulty.extents(...args);
  close = () => this.faulty.close();

  async writeWhole(changes: readonly WholeChange[]): Promise<void> {
    this.batches.push(changes);
    this.events.push('batch');
    await this.turnstile.pass;
    if (this.failure !== null) throw this.failure;
    await Promise.all(
      changes.map((change) =>
        change.kind === 'write'
          ? this.faulty.write(change.offset, change.from)
          : this.faulty.writeZeroes(change.offset, change.length),
      ),
    );
  }

  async flush(): Promise<void> {
    this.events.push('flush');
    await this.faulty.flush();
  }
}

const sector = (byte: number) => new Uint8Array(SECTOR_BYTES).fill(byte);
const at = (sectors: number) => sectors * SECTOR_BYTES;

function over(lower: TakesWhole, epochBytes = 8 * MIB): GatheredEpochs {
  return new GatheredEpochs(lower, { epochBytes });
}

describeBlockDevice('GatheredEpochs', {
  supports: { holes: true, failingFlush: true },
  async make(): Promise<Subject> {
    const lower = new Lower(SMALLEST_SIZE + at(16));
    const device = over(lower);
    return {
      device,
      cleanup: async () => {
        await device.close();
        expect(lower.faulty.overlaps).toEqual([]);
      },
      failNextFlush: () => void lower.faulty.addRule({ operations: ['flush'], nth: 1 }),
    };
  },
});

describeBlockDevice('GatheredEpochs over a replicated secondary', {
  supports: { holes: true, durability: true },
  async make(): Promise<Subject> {
    const chain = await Chain.make({ imageBytes: SMALLEST_SIZE + at(8), logBytes: 16 * MIB });
    await chain.replication.start();
    return {
      device: chain.device,
      cleanup: () => chain.close(),
      reopen: () => chain.reopenedSecond(),
    };
  },
});

describe('gathered epochs', () => {
  it('are what was called before each flush, and go down in order', () =>
    withSeed(async (random) => {
      for (let round = 0; round < 10; round++) await randomRound(random);
    }));

  /** Calls of all kinds without waiting, that overlap; the batches put together are the moments of the flushes. */
  async function randomRound(random: SeededRandom): Promise<void> {
    const lower = new Lower(at(SECTORS), random.below(1000));
    const device = over(lower);
    const content = new Uint8Array(device.size);
    const moments = [content.slice()];
    let isEmpty = true;
    const calls: Promise<unknown>[] = [];
    const ended = () => {
      if (!isEmpty) moments.push(content.slice());
      isEmpty = true;
    };
    for (let step = 0; step < 80; step++) {
      const from = random.below(SECTORS);
      const [offset, length] = [at(from), at(random.between(1, Math.min(SECTORS - from, 10)))];
      const kind = random.below(10);
      const fua = random.chance(0.1);
      if (kind < 5) {
        const bytes = random.bytes(length);
        content.set(bytes, offset);
        isEmpty = false;
        calls.push(device.write(offset, [bytes.subarray(0, 100), bytes.subarray(100)], { fua }));
        if (fua) ended();
      } else if (kind < 7) {
        content.fill(0, offset, offset + length);
        isEmpty = false;
        calls.push(random.chance(0.5) ? device.trim(offset, length) : device.writeZeroes(offset, length));
      } else if (kind < 8) {
        calls.push(device.flush());
        ended();
      } else if (kind < 9) await turns(random.below(6));
      else {
        const found = new Uint8Array(length);
        const wanted = content.slice(offset, offset + length);
        calls.push(device.read(offset, found).then(() => expect(Buffer.compare(found, wanted)).toBe(0)));
        // Who writes to what is being read gets either.
        await Promise.all(calls.splice(0));
      }
    }
    await Promise.all(calls);
    await device.flush();
    ended();
    expect(lower.faulty.overlaps).toEqual([]);
    expect(Buffer.compare(await contentOf(lower.faulty), content)).toBe(0);
    checkBatches(lower, moments);
  }

  function checkBatches({ batches, events }: Lower, moments: readonly Uint8Array[]): void {
    const content = new Uint8Array(at(SECTORS));
    expect(batches.length).toBe(moments.length - 1);
    for (const [index, batch] of batches.entries()) {
      const sorted = [...batch].sort((a, b) => a.offset - b.offset);
      for (const [place, change] of sorted.entries()) {
        const { offset, length } = change;
        expect(offset).toBeGreaterThanOrEqual(place === 0 ? 0 : endOf(sorted[place - 1]!));
        content.set(change.kind === 'write' ? (change.from as Uint8Array) : new Uint8Array(length), offset);
      }
      expect(Buffer.compare(content, moments[index + 1]!), `batch ${index} is no moment`).toBe(0);
    }
    // Each is flushed before the next goes down.
    expect(events.join(' ')).not.toContain('batch batch');
    expect(events.at(-1)).toBe('flush');
  }

  const endOf = ({ offset, length }: WholeChange) => offset + length;

  it('take what comes in amid a flush into the next one, and show it', async () => {
    const lower = new Lower();
    const device = over(lower);
    await device.write(0, [sector(1), sector(1)]);
    lower.turnstile.shut();
    const first = device.flush();
    await device.write(at(1), sector(2));
    const second = device.flush();
    await device.write(0, sector(3));
    await turns();
    expect(lower.batches.length).toBe(1);
    expect([...(await contentOf(device)).subarray(0, at(2))].filter((_, i) => i % at(1) === 0)).toEqual([
      3, 2,
    ]);
    lower.turnstile.open();
    await Promise.all([first, second]);
    expect(lower.batches.map((batch) => batch.map(({ offset }) => offset))).toEqual([[0], [at(1)]]);
    expect([...(await contentOf(lower.faulty)).subarray(0, at(2))].filter((_, i) => i % at(1) === 0)).toEqual(
      [1, 2],
    );
    expect((await contentOf(device))[0]).toBe(3);
  });

  it('keep no more of what is not below than a few', async () => {
    const lower = new Lower();
    const device = over(lower);
    lower.turnstile.shut();
    const flushes: Promise<void>[] = [];
    for (let byte = 1; byte <= 3; byte++) {
      await device.write(0, sector(byte));
      flushes.push(device.flush());
    }
    let hasEnded = false;
    const late = device.write(0, sector(4)).then(() => {
      hasEnded = true;
    });
    await turns();
    expect([hasEnded, (await contentOf(device))[0]]).toEqual([false, 4]);
    lower.turnstile.open();
    await Promise.all([...flushes, late]);
    expect((await contentOf(lower.faulty))[0]).toBe(3);
  });

  it('are dropped, as far as they were not flushed, when it is closed', async () => {
    const lower = new Lower();
    const device = over(lower);
    await device.write(0, sector(1));
    await device.close();
    expect([lower.batches, lower.events]).toEqual([[], []]);
  });

  it('copy what is written: its owner may do with it what it likes', async () => {
    const lower = new Lower();
    const device = over(lower);
    const bytes = sector(1);
    await device.write(0, bytes);
    bytes.fill(9);
    await device.flush();
    expect((await contentOf(lower.faulty))[0]).toBe(1);
  });

  it('refuse the call that makes one too long, by one sector, and then all', async () => {
    const lower = new Lower();
    const device = over(lower, epochCost(0) + epochCost(at(2)) + epochCost(at(1)) + epochCost(0));
    await device.write(0, [sector(1), sector(1)]);
    await device.writeZeroes(at(5), at(3));
    await device.write(at(9), sector(1));
    await device.flush();
    await device.write(0, [sector(2), sector(2)]);
    await device.trim(at(5), at(3));
    const refused = await errorOf(device.write(at(9), [sector(2), sector(2)]));
    expect([refused.code, refused.message]).toEqual(['REFUSED', expect.stringContaining('longer than the')]);
    expect((await contentOf(device))[at(9)]).toBe(1);
    expect((await errorOf(device.flush())).code).toBe('IO_ERROR');
    expect((await errorOf(device.write(0, sector(3)))).code).toBe('IO_ERROR');
    expect(lower.batches.length).toBe(1);
  });

  it.each([Object.assign(new Error('gone'), { code: 'EIO' }), new Error('a fault of ours')])(
    'that failed on their way down are final: %s',
    async (failure) => {
      const lower = new Lower();
      const device = over(lower);
      await device.write(0, sector(1));
      lower.turnstile.shut();
      const first = device.flush();
      await device.write(at(1), sector(2));
      const second = device.flush();
      lower.failure = failure;
      lower.turnstile.open();
      await expect(first).rejects.toThrow(failure.message);
      await expect(second).rejects.toThrow(failure.message);
      lower.failure = null;
      await expect(device.flush()).rejects.toThrow(failure.message);
      await expect(device.write(0, sector(3))).rejects.toThrow(failure.message);
      expect([lower.batches.length, lower.events]).toEqual([1, ['batch']]);
      expect([...(await contentOf(device))].filter((_, i) => i < at(2) && i % at(1) === 0)).toEqual([1, 2]);
    },
  );

  it('that hold what may be gathered are no longer below than what lies there takes', () =>
    withSeed(async (random) => {
      const lowerBytes = 64 * 1024;
      for (let round = 0; round < 20; round++) {
        const lower = new Lower();
        const device = over(lower, gatherableBytes(lowerBytes));
        const ofZeroes = random.next();
        for (let left = device.epochBytes - epochCost(0); ; ) {
          const from = random.below(SECTORS);
          const length = at(random.between(1, Math.min(SECTORS - from, random.pick([1, 2, 64]))));
          const isZero = random.chance(ofZeroes);
          left -= epochCost(isZero ? 0 : length);
          if (left < 0) break;
          if (isZero) await device.writeZeroes(at(from), length);
          else await device.write(at(from), new Uint8Array(length));
        }
        await device.flush();
        const costs = lower.batches[0]!.map(({ kind, length }) => epochCost(kind === 'write' ? length : 0));
        expect(costs.reduce((sum, cost) => sum + cost, epochCost(0))).toBeLessThanOrEqual(lowerBytes);
      }
    }));
});
