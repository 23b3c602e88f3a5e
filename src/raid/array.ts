/**
 * A RAID-5 array, open: a block device over its members. This is the face of the layer; the work is done by
 * reader.ts, writer.ts, metadata.ts and the sweeps (resync, rebuild, scrub).
 *
 * What it orders for those above: writes in flight that share rows, any number of them, as long as they do not
 * overlap byte for byte (contract.ts). `blockSize` is a sector.
 */
import { byteLength } from '../device/buffers.js';
import { CallGuard } from '../device/call-guard.js';
import type {
  AdvisedDevice,
  BatchDevice,
  BatchWrite,
  Buffers,
  Extent,
  WriteOptions,
} from '../device/contract.js';
import { ArrayActivity } from './activity.js';
import type { ArrayCore } from './core.js';
import { arrayExtents } from './extents.js';
import { Faults } from './faults.js';
import { SECTOR_BYTES } from './md/model.js';
import type { ArrayMember, Slot } from './member.js';
import type { ArrayMetadata } from './metadata.js';
import { ArrayReader } from './reader.js';
import { Rebuild, type RebuildResult } from './rebuild.js';
import type { ArrayRecord } from './record/open-record.js';
import type { RecordIntent } from './record/record-intent.js';
import { Resync, type ResyncResult } from './resync.js';
import { Scrub, type ScrubOptions, type ScrubResult } from './scrub.js';
import type { SweepOptions } from './sweep.js';
import { ArrayWriter } from './writer.js';
import { zeroStripes } from './zero-stripes.js';

type RunOptions = Omit<SweepOptions, 'checkpoint'>;

export class RaidArray implements BatchDevice, AdvisedDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize = SECTOR_BYTES;
  readonly readOnly: boolean;
  readonly activity: ArrayActivity;
  private readonly guard: CallGuard;
  private readonly faults: Faults;
  private readonly reader: ArrayReader;
  private readonly writer: ArrayWriter;

  /** Arrays come from `openArray` (open.ts). */
  constructor(
    readonly core: ArrayCore,
    readonly metadata: ArrayMetadata,
    /** As it was found when the array was opened. */
    readonly record: ArrayRecord,
    /** Keeps the record from then on; null: none is kept. */
    private readonly keeper: RecordIntent | null,
    idleMs?: number,
  ) {
    this.name = core.name;
    this.size = core.geometry.arraySizeBytes;
    this.readOnly = core.readOnly;
    this.guard = new CallGuard(this);
    this.activity = new ArrayActivity(core, metadata, idleMs);
    this.faults = new Faults(core, metadata);
    this.reader = new ArrayReader(core, metadata, this.faults);
    this.writer = new ArrayWriter(core, metadata, this.activity, this.faults);
  }

  /** Generations of the record that were written since it was opened; null: none is kept. */
  get recordWrites(): number | null {
    return this.keeper?.generations ?? null;
  }

  read(offset: number, into: Buffers): Promise<void> {
    return this.guard.run('read', offset, byteLength(into), () => this.reader.read(offset, into));
  }

  write(offset: number, from: Buffers, options: WriteOptions = {}): Promise<void> {
    return this.guard.run('write', offset, byteLength(from), () =>
      this.writer.write([{ offset, from }], options),
    );
  }

  /** All windows of a batch are planned together: what makes up a full stripe is written without a read. */
  async writeBatch(batch: readonly BatchWrite[]): Promise<void> {
    if (batch.length === 0) return;
    for (const { offset, from } of batch) {
      const length = byteLength(from);
      // It tells why.
      if (!this.guard.admits('write', offset, length))
        await this.guard.run('write', offset, length, () => Promise.resolve());
    }
    const start = Math.min(...batch.map((entry) => entry.offset));
    const end = Math.max(...batch.map((entry) => entry.offset + byteLength(entry.from)));
    await this.guard.run('write', start, end - start, () => this.writer.write(batch, {}));
  }

  /** Where no record is kept there is nothing to be done ahead. */
  willWrite(offset: number, length: number): void {
    const { stripeDataBytes } = this.core.geometry;
    const [start, end] = [offset / stripeDataBytes, (offset + length) / stripeDataBytes];
    this.keeper?.expect({ start: Math.floor(start), end: Math.ceil(end) });
  }

  /** Whole stripes are zeroed on all members at once (the parity of zeroes is zero), and may become holes. */
  writeZeroes(offset: number, length: number, options: WriteOptions = {}): Promise<void> {
    return this.guard.run('write-zeroes', offset, length, () =>
      zeroStripes(this.core, this.metadata, this.activity, this.faults, this.writer, offset, length, options),
    );
  }

  /** Only whole stripes are given up, and read as zeroes then: parity has to match whatever they hold. */
  trim(offset: number, length: number): Promise<void> {
    return this.guard.run('trim', offset, length, () =>
      zeroStripes(this.core, this.metadata, this.activity, this.faults, null, offset, length, {}),
    );
  }

  flush(): Promise<void> {
    return this.guard.flush(() => this.metadata.flushMembers());
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.guard.ask(offset, length, [], () => arrayExtents(this.core, offset, length));
  }

  resync(options?: RunOptions): Promise<ResyncResult> {
    return new Resync(this.core, this.metadata, this.faults).run(options);
  }

  scrub(options: ScrubOptions & { repair: boolean }): Promise<ScrubResult> {
    return new Scrub(this.core, this.metadata, this.activity, this.faults, options.repair).run(options);
  }

  /** `target` is in `slot`, as its member or its replacement, and not in-sync. */
  rebuild(slot: Slot, target: ArrayMember, options?: RunOptions): Promise<RebuildResult> {
    return new Rebuild(this.core, this.metadata, this.faults, slot, target).run(options);
  }

  /**
   * Stops the array: waits for what is in flight, flushes, and makes the superblocks clean if they were made
   * active. The members' devices stay open; they are the opener's.
   */
  close(): Promise<void> {
    return this.guard.close(async () => {
      this.activity.close();
      try {
        if (!this.readOnly && this.core.degradedSlots.length < 2) await this.metadata.deactivate();
      } finally {
        this.core.closeArena();
      }
    });
  }
}
