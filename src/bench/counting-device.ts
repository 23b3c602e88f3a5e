/**
 * Counts exactly what a layer asks of the devices below it. It stands between an array and its images, so that
 * a bench can say beside a speed what the speed was paid with. Several devices may share one tally.
 */
import { byteLength } from '../device/buffers.js';
import type { BlockDevice, Buffers, Extent, WriteOptions } from '../device/contract.js';
import { type FileCalls, systemCalls } from '../device/file-calls.js';
import type { Counts, Sample } from './bench.js';

/** Calls of devices: a write that also is a barrier (fua) counts as both. Trims move no bytes and are left out. */
const NOTHING = { reads: 0, readBytes: 0, writes: 0, writtenBytes: 0, flushes: 0, fuaWrites: 0 };

interface Tally extends Record<keyof typeof NOTHING, number> {
  /** Flushes that came to a file: of a device that has taken nothing since its last one, none does. */
  fileSyncs?: number;
  /** Copies of the dirty-stripe record, among the writes. */
  recordCopies?: number;
}

export class DeviceTally {
  #counts: Tally = { ...NOTHING };

  read(bytes: number): void {
    this.#counts.reads += 1;
    this.#counts.readBytes += bytes;
  }

  write(bytes: number, options: WriteOptions = {}): void {
    this.#counts.writes += 1;
    this.#counts.writtenBytes += bytes;
    if (options.fua === true) this.#counts.fuaWrites += 1;
  }

  flush(): void {
    this.#counts.flushes += 1;
  }

  fileSync(): void {
    this.#counts.fileSyncs = (this.#counts.fileSyncs ?? 0) + 1;
  }

  recordCopy(): void {
    this.#counts.recordCopies = (this.#counts.recordCopies ?? 0) + 1;
  }

  /** What was counted since the last time. */
  take(): Counts {
    const counts = this.#counts;
    this.#counts = { ...NOTHING };
    return { ...counts };
  }
}

/** How long `work` takes, and what the devices of `tally` are asked for meanwhile. */
export async function measured(tally: DeviceTally, work: () => Promise<unknown>): Promise<Sample> {
  tally.take();
  const start = process.hrtime.bigint();
  await work();
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  return { seconds, counts: tally.take() };
}

/** The system calls of an image whose syncs are counted. */
export function countedCalls(tally: DeviceTally): FileCalls {
  return {
    ...systemCalls,
    fdatasync(fd) {
      tally.fileSync();
      return systemCalls.fdatasync(fd);
    },
  };
}

/** Whose count it is hangs on where the call begins. */
export type TallyAt = (offset: number) => DeviceTally;

export class CountingDevice implements BlockDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly: boolean;
  readonly #tallyAt: TallyAt;

  constructor(
    private readonly base: BlockDevice,
    tally: DeviceTally | TallyAt,
    /** Whether a durable write at this offset is a copy of the record. */
    private readonly isRecord: (offset: number) => boolean = () => false,
  ) {
    this.name = base.name;
    this.size = base.size;
    this.blockSize = base.blockSize;
    this.readOnly = base.readOnly;
    this.#tallyAt = typeof tally === 'function' ? tally : () => tally;
  }

  read(offset: number, into: Buffers): Promise<void> {
    this.#tallyAt(offset).read(byteLength(into));
    return this.base.read(offset, into);
  }

  write(offset: number, from: Buffers, options?: WriteOptions): Promise<void> {
    const tally = this.#tallyAt(offset);
    tally.write(byteLength(from), options);
    // What gives a place its room on the disk is not durable by itself, and no copy.
    if (options?.fua === true && this.isRecord(offset)) tally.recordCopy();
    return this.base.write(offset, from, options);
  }

  writeZeroes(offset: number, length: number, options?: WriteOptions): Promise<void> {
    this.#tallyAt(offset).write(length, options);
    return this.base.writeZeroes(offset, length, options);
  }

  trim(offset: number, length: number): Promise<void> {
    return this.base.trim(offset, length);
  }

  flush(): Promise<void> {
    // Of the whole device: counted where its end is.
    this.#tallyAt(this.size).flush();
    return this.base.flush();
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.base.extents(offset, length);
  }

  close(): Promise<void> {
    return this.base.close();
  }
}
