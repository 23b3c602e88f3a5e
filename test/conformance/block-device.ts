/**
 * What src/device/contract.ts says, sentence by sentence, as tests that every device and every layer runs.
 * What an implementation cannot be asked (it has no durable state, say) it leaves out of its Subject, and
 * the tests of that are not there.
 *
 * Each test has a device of its own. The device may hold anything at first and must be at least
 * SMALLEST_SIZE large.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type BlockDevice, DeviceError } from '../../src/device/contract.js';
import { describeCalls } from './calls.js';
import { describeExtents } from './extents.js';
import { describeModel } from './model.js';

/** Bytes. */
export const SMALLEST_SIZE = 1024 * 1024;

export interface Subject {
  readonly device: BlockDevice;
  cleanup(): Promise<void>;
  /** Ends the device (a crash, a power cut, or a mere close) and opens what is durable of it. */
  reopen?(): Promise<BlockDevice>;
  /** Ends the device and opens it read only. */
  reopenReadOnly?(): Promise<BlockDevice>;
  /** The next flush of the device fails in whatever lies below. */
  failNextFlush?(): void;
}

export interface Conformance {
  make(): Promise<Subject>;
  readonly supports: {
    /** Zeroes that were never written, or were written with writeZeroes, show in extents. */
    readonly holes?: boolean;
    /** Subjects have `reopen`. */
    readonly durability?: boolean;
    /** Subjects have `reopenReadOnly`. */
    readonly readOnly?: boolean;
    /** Subjects have `failNextFlush`. */
    readonly failingFlush?: boolean;
  };
}

/** The subject of the running test. */
export interface Bench {
  readonly subject: Subject;
  readonly device: BlockDevice;
  /** A whole number of blocks, about `bytes`. */
  blocks(bytes: number): number;
}

export function describeBlockDevice(name: string, conformance: Conformance): void {
  describe(`${name} is a block device`, () => {
    let subject: Subject | null = null;
    beforeEach(async () => {
      subject = await conformance.make();
    });
    afterEach(async () => {
      await subject?.cleanup();
      subject = null;
    });
    const bench: Bench = {
      get subject() {
        return subject!;
      },
      get device() {
        return subject!.device;
      },
      blocks: (bytes) =>
        Math.max(1, Math.floor(bytes / subject!.device.blockSize)) * subject!.device.blockSize,
    };
    describeCalls(bench);
    describeModel(bench);
    describeExtents(bench, conformance.supports.holes === true);
    if (conformance.supports.durability === true) describeDurability(bench);
    if (conformance.supports.readOnly === true) describeReadOnly(bench);
    if (conformance.supports.failingFlush === true) describeFailingFlush(bench);
  });
}

/** The error that a call must end in; a call that ends well is a failure. */
export async function errorOf(call: Promise<unknown>): Promise<DeviceError> {
  const outcome = await call.then(
    () => new Error('the call was to be refused, and ended well'),
    (error: unknown) => error,
  );
  if (outcome instanceof DeviceError) return outcome;
  throw outcome;
}

export async function readAt(device: BlockDevice, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length).fill(0xee);
  await device.read(offset, bytes);
  return bytes;
}

/** Bytes that differ from place to place and between tags. */
export function pattern(length: number, tag: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >>> 8) * 7 + tag * 101 + 1) & 0xff);
}

/** Equality of long buffers, with a message that can be read. */
export function expectSame(found: Uint8Array, wanted: Uint8Array, what = 'content'): void {
  if (Buffer.compare(found, wanted) === 0) return;
  const at = wanted.findIndex((byte, i) => found[i] !== byte);
  expect.fail(
    `${what}: differs first at ${at}: ${found[at]} instead of ${wanted[at]} (of ${wanted.length} bytes)`,
  );
}

function describeDurability(bench: Bench): void {
  it('keeps what was flushed', async () => {
    const { device } = bench;
    const length = bench.blocks(40_000);
    const zeroed = bench.blocks(8192);
    const far = device.size - length;
    await device.write(0, pattern(length, 1));
    await device.write(far, pattern(length, 2));
    await device.writeZeroes(0, zeroed);
    await device.flush();
    const again = await bench.subject.reopen!();
    const wanted = pattern(length, 1).fill(0, 0, zeroed);
    expectSame(await readAt(again, 0, length), wanted);
    expectSame(await readAt(again, far, length), pattern(length, 2));
  });

  it('keeps a write and zeroes with fua, without a flush', async () => {
    const { device } = bench;
    const length = bench.blocks(12_000);
    await device.write(length, pattern(2 * length, 3));
    await device.write(length, pattern(length, 4), { fua: true });
    await device.writeZeroes(2 * length, length, { fua: true });
    const again = await bench.subject.reopen!();
    expectSame(await readAt(again, length, length), pattern(length, 4));
    expectSame(await readAt(again, 2 * length, length), new Uint8Array(length));
  });

  it('flushes for every one of many callers at once', async () => {
    const { device } = bench;
    const length = bench.blocks(4096);
    const writers = Array.from({ length: 16 }, async (_, i) => {
      await device.write(i * length, pattern(length, i));
      await device.flush();
    });
    await Promise.all(writers);
    const again = await bench.subject.reopen!();
    for (let i = 0; i < 16; i++) expectSame(await readAt(again, i * length, length), pattern(length, i));
  });
}

function describeReadOnly(bench: Bench): void {
  it('refuses every change when it is read only, and reads', async () => {
    const length = bench.blocks(4096);
    await bench.device.write(0, pattern(length, 5));
    await bench.device.flush();
    const device = await bench.subject.reopenReadOnly!();
    expect(device.readOnly).toBe(true);
    const changes = [
      device.write(0, pattern(length, 6)),
      device.writeZeroes(0, length),
      device.trim(0, length),
    ];
    for (const change of changes) expect((await errorOf(change)).code).toBe('PERMISSION_DENIED');
    expectSame(await readAt(device, 0, length), pattern(length, 5));
    await device.flush();
  });
}

function describeFailingFlush(bench: Bench): void {
  it('refuses every write and flush after a flush that failed, and still reads', async () => {
    const { device } = bench;
    const length = bench.blocks(4096);
    await device.write(0, pattern(length, 7));
    bench.subject.failNextFlush!();
    expect((await errorOf(device.flush())).fault.operation).toBe('flush');
    // What fails is the first of these, and all after it.
    await errorOf(device.flush());
    await errorOf(device.write(0, pattern(length, 8)));
    await errorOf(device.write(0, pattern(length, 8), { fua: true }));
    await errorOf(device.writeZeroes(0, length));
    await errorOf(device.flush());
    expectSame(await readAt(device, 0, length), pattern(length, 7));
  });

  it('fails every flush that waits for one that fails', async () => {
    const { device } = bench;
    await device.write(0, pattern(bench.blocks(4096), 7));
    bench.subject.failNextFlush!();
    const outcomes = await Promise.allSettled([device.flush(), device.flush(), device.flush()]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
  });
}
