/**
 * The circular transaction log: figure 2 of coordinated dirty block tracking, what it costs, when it is full, and what
 * becomes of it when a write fails.
 */
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { LOG_HEADER } from '../../../src/replication/log/fields.js';
import { decodeSector } from '../../../src/replication/log/sector.js';
import { logFileBytes, TransactionLog } from '../../../src/replication/log/transaction-log.js';
import { UncheckedBytes } from '../../../src/structure.js';
import { HeldDevice } from '../../support/devices/held-device.js';
import {
  activeBlocks,
  activeNumbers,
  begun,
  block,
  logStage,
  offsetOfSector,
  VOLUME,
  whole,
} from './log-stage.js';

async function sectorAt(memory: MemoryDevice, number: number, sectors: number) {
  const header = new Uint8Array(512);
  await memory.read(0, header);
  const shape = { id: LOG_HEADER.at(header).big('id'), sectors };
  const bytes = new Uint8Array(512);
  await memory.read(offsetOfSector(number, sectors), bytes);
  return decodeSector(new UncheckedBytes(bytes, 0), (number - 1) % sectors, shape);
}

/** Figure 2: five transactions, of which 1, 3 and 4 are done. */
async function figure2(sectors = 64) {
  const own = await logStage(sectors);
  const numbers: number[] = [];
  for (const from of [10, 20, 30, 40, 50]) numbers.push(await begun(own.log, from));
  for (const at of [0, 2, 3]) own.log.done(numbers[at]!);
  return { ...own, numbers };
}

describe('figure 2', () => {
  it('has a start of the log that is the oldest active transaction (paragraphs 50 and 51)', async () => {
    const { log, open, numbers } = await figure2();
    const sixth = await begun(log, 60);
    const opened = await open();
    expect(activeNumbers(opened)).toEqual([numbers[1], numbers[4], sixth]);
    expect(activeBlocks(opened)).toEqual(new Set([20, 50, 60]));
    expect(log.usedSectors).toBe(5);
    log.done(numbers[1]!);
    await log.sayDone();
    expect(activeNumbers(await open())).toEqual([numbers[4], sixth]);
    expect(log.usedSectors).toBe(3);
  });

  it('has a DONE record for each that is done amid others, with the next log write (paragraphs 50 and 77)', async () => {
    const { memory, log } = await figure2();
    const sixth = await begun(log, 60);
    expect(await sectorAt(memory, sixth, 64)).toEqual({
      number: 6,
      start: 2,
      begins: 6,
      entries: [
        { kind: 'range', from: 60, count: 1 },
        { kind: 'done', from: 3, count: 2 },
      ],
    });
    const seventh = await begun(log, 70);
    expect(await sectorAt(memory, seventh, 64)).toMatchObject({ entries: [{ from: 70 }] });
  });

  it('goes on at the end of the log, and what is before its start is free again (paragraph 52)', async () => {
    const { log, open, numbers } = await figure2(6);
    log.done(numbers[1]!);
    // Of six sectors: 6 is the last one, 7 and 8 lie over 1 and 2, and 5 is still active.
    const later = [await begun(log, 60), await begun(log, 70), await begun(log, 80)];
    expect(later).toEqual([6, 7, 8]);
    expect(activeBlocks(await open())).toEqual(new Set([50, 60, 70, 80]));
  });
});

describe('a log that is full (paragraph 53)', () => {
  it('takes nothing as long as its oldest transaction is active, however many others are done', async () => {
    const { log, device, open } = await logStage(8);
    const numbers: number[] = [];
    for (let from = 0; from < 7; from++) numbers.push(await begun(log, from));
    for (const number of numbers.slice(1)) log.done(number);
    device.resetCounts();
    expect(await log.begin(block(100))).toBe(null);
    expect(device.counts).toMatchObject({ fuaWrites: 0, writes: 0, flushes: 0 });
    expect(log.usedSectors).toBe(7);
    log.done(numbers[0]!);
    expect(await log.begin(block(100))).toEqual([8]);
    expect(activeBlocks(await open())).toEqual(new Set([100]));
  });

  it('says what is DONE first, in a log write of its own, where that makes room', async () => {
    const { log, device } = await logStage(8);
    const numbers: number[] = [];
    for (let from = 0; from < 7; from++) numbers.push(await begun(log, from));
    for (const number of numbers.slice(0, 3)) log.done(number);
    device.resetCounts();
    const before = { ...log.counts };
    // 4 to 7 are active, and one sector stays free: with the DONE, sector 8, there is room for two more and not for three.
    expect(await log.begin(block(1000, 16384 * 59 * 3))).toEqual(null);
    expect(device.counts.fuaWrites).toBe(0);
    expect(await log.begin(block(1000, 16384 * 59 * 2))).toEqual([9, 10]);
    expect(log.counts.logWrites - before.logWrites).toBe(2);
    expect(log.counts.sectors - before.sectors).toBe(3);
    expect(log.usedSectors).toBe(7);
    expect(await log.begin(block(0))).toBe(null);
  });

  it('refuses one that never fits, and takes a smaller one that came with it', async () => {
    const { log } = await logStage(8);
    const [large, small] = await Promise.all([log.begin(block(0, 16384 * 59 * 8)), log.begin(block(7))]);
    expect(large).toBe(null);
    expect(small).toEqual([1]);
  });

  it('wraps many times', async () => {
    const { log, open, memory } = await logStage(7);
    let last: number | null = null;
    for (let from = 0; from < 500; from++) {
      const number = await begun(log, from);
      if (last !== null) log.done(last);
      last = number;
      if (from % 50 === 0) expect(activeBlocks(await TransactionLog.open(memory, VOLUME))).toContain(from);
    }
    const opened = await open();
    expect(activeBlocks(opened)).toEqual(new Set([498, 499]));
    log.done(last!);
    await log.sayDone();
    expect(activeBlocks(await open())).toEqual(new Set());
  });
});

describe('who comes at one moment', () => {
  for (const [callers, sectors] of [
    [1, 1],
    [8, 1],
    [64, 2],
  ] as const) {
    it(`shares one log write: ${callers} callers, ${sectors} sectors (paragraph 62)`, async () => {
      const { log, device } = await logStage();
      const numbers = await Promise.all(Array.from({ length: callers }, (_, from) => log.begin(block(from))));
      expect(log.counts).toEqual({ logWrites: 1, writes: 1, sectors, bytes: sectors * 512, flushes: 0 });
      expect(device.counts).toMatchObject({
        fuaWrites: 1,
        writes: 0,
        flushes: 0,
        writtenBytes: sectors * 512,
      });
      expect(new Set(numbers.flat()).size).toBe(sectors);
      expect(log.activeTransactions).toBe(sectors);
    });
  }

  it('shares the next one while one is in flight, and waits for no later one', async () => {
    const held = new HeldDevice(new MemoryDevice(logFileBytes(64)));
    const log = await TransactionLog.format(held, VOLUME);
    held.hold('write');
    const first = log.begin(block(0));
    await held.arrived(1);
    const next = Array.from({ length: 64 }, (_, at) => log.begin(block(1 + at)));
    held.letIn(0);
    expect(await first).toEqual([1]);
    await held.arrived(1);
    const later = log.begin(block(100));
    held.letIn(0);
    expect((await Promise.all(next)).flat().every((number) => number === 2 || number === 3)).toBe(true);
    held.release('write');
    expect(await later).toEqual([4]);
    expect(log.counts).toMatchObject({ logWrites: 3, writes: 3, sectors: 4 });
  });

  it('shares a sector, which is active until each of them is done with it', async () => {
    const { log, open } = await logStage();
    const [first, second] = await Promise.all([log.begin(block(1)), log.begin(block(2))]);
    expect(first).toEqual([1]);
    expect(second).toEqual([1]);
    log.done(1);
    await begun(log, 3);
    expect(activeBlocks(await open())).toEqual(new Set([1, 2, 3]));
    log.done(1);
    await begun(log, 4);
    expect(activeBlocks(await open())).toEqual(new Set([3, 4]));
    expect(() => log.done(1)).toThrow('transaction 1 is not active');
  });

  it('learns each sector that its ranges are in', async () => {
    const { log, open } = await logStage();
    const many = Array.from({ length: 100 }, (_, at) => ({ from: 100_000 + at * 2, count: 1 }));
    const [one, other] = await Promise.all([log.begin(many), log.begin(block(5, 40_000))]);
    expect(one).toEqual([1, 2]);
    expect(other).toEqual([2]);
    log.done(1);
    log.done(2);
    await log.sayDone();
    // The first sector had 59 of the hundred.
    expect(activeBlocks(await open()).size).toBe(40_041);
  });
});

describe('what it costs', () => {
  it('is nothing for no ranges, for an opening, and for a close with nothing to say', async () => {
    const { log, device, open } = await logStage();
    expect(await log.begin([])).toEqual([]);
    await log.sayDone();
    const again = whole(await open());
    await again.sayDone();
    expect(device.counts).toMatchObject({ fuaWrites: 0, writes: 0, flushes: 0, trims: 0 });
  });

  it('is one sector at a close, and then nothing is active (paragraph 54)', async () => {
    const { log, open } = await figure2();
    for (const number of [2, 5]) log.done(number);
    const before = { ...log.counts };
    await log.sayDone();
    expect(log.counts).toEqual({ ...before, logWrites: 6, writes: 6, sectors: 6, bytes: 6 * 512 });
    const opened = await open();
    expect(activeNumbers(opened)).toEqual([]);
    expect(whole(opened).usedSectors).toBe(1);
  });

  it('takes as many sectors at a close as there are DONEs', async () => {
    const { log, open } = await logStage(512);
    const numbers: number[] = [];
    for (let from = 0; from < 240; from++) numbers.push(await begun(log, from));
    for (const number of numbers) if (number % 2 === 0) log.done(number);
    const { sectors } = log.counts;
    await log.sayDone();
    // 120 of them, none beside another: 59 fit into a sector.
    expect(log.counts.sectors - sectors).toBe(3);
    expect(activeNumbers(await open())).toEqual(numbers.filter((number) => number % 2 === 1));
  });
});

describe('a write that fails', () => {
  it('is final, and everybody is told the same', async () => {
    const { log, device } = await logStage();
    await begun(log, 1);
    device.addRule({ operations: ['write'], nth: 1, code: 'NO_SPACE' });
    const two = await Promise.allSettled([log.begin(block(2)), log.begin(block(3))]);
    const reasons = two.map((each) => (each.status === 'rejected' ? each.reason : null));
    expect(reasons[0]).toMatchObject({ code: 'NO_SPACE' });
    expect(reasons[1]).toBe(reasons[0]);
    await expect(log.begin(block(4))).rejects.toBe(reasons[0]);
    await expect(log.sayDone()).rejects.toBe(reasons[0]);
    // The bookkeeping goes on: who has a map for it gives it up.
    log.done(1);
    expect(log.activeTransactions).toBe(0);
  });
});
