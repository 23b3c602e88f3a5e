/**
 * What the volume held at a moment, for reading: of blocks that were overwritten since, what was kept; of all others what the
 * device below the gate has. Nobody changes a range while it is read.
 *
 * Of blocks that nobody wants any more it shows what is there now: who reads those must not mind.
 */
import { byteLength, scatter } from '../device/buffers.js';
import type { Buffers, Extent } from '../device/contract.js';
import { ExtentList } from '../device/extent-list.js';
import { ReadOnlyDevice } from '../device/read-only-device.js';
import { BLOCK_BYTES, type BlockRange, blocksWithin } from '../replication/blocks.js';
import type { GateDevice } from './gate.js';

/** What was kept of the moment. */
export interface KeptBlocks {
  /** Those of the range, in ascending order. */
  within(range: BlockRange): Iterable<number>;
  /** The last block of the volume may be short. */
  read(block: number, into: Uint8Array): Promise<void>;
}

export class MomentView extends ReadOnlyDevice {
  constructor(
    private readonly gate: GateDevice,
    private readonly kept: KeptBlocks,
    private readonly onClose: () => void = () => {},
  ) {
    super(gate);
  }

  override close(): Promise<void> {
    return this.guard.close(async () => this.onClose());
  }

  read(offset: number, into: Buffers): Promise<void> {
    const length = byteLength(into);
    return this.guard.run('read', offset, length, () =>
      this.gate.below(blocksWithin(offset, length), async (lower) => {
        await lower.read(offset, into);
        await this.#overlay(offset, length, into);
      }),
    );
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.guard.ask(offset, length, [], () =>
      this.gate.below(blocksWithin(offset, length), async (lower) => {
        const list = new ExtentList();
        for (const extent of await lower.extents(offset, length))
          if (extent.kind === 'data') list.add(extent.offset, extent.length, 'data');
          else this.#addWithKept(list, extent);
        return list.list();
      }),
    );
  }

  async #overlay(offset: number, length: number, into: Buffers): Promise<void> {
    const content = new Uint8Array(BLOCK_BYTES);
    for (const block of this.kept.within(blocksWithin(offset, length))) {
      const start = block * BLOCK_BYTES;
      const whole = content.subarray(0, Math.min(BLOCK_BYTES, this.size - start));
      await this.kept.read(block, whole);
      const from = Math.max(start, offset);
      const end = Math.min(start + whole.length, offset + length);
      scatter(whole.subarray(from - start, end - start), into, from - offset);
    }
  }

  /** What is kept may hold anything. */
  #addWithKept(list: ExtentList, { offset, length, kind }: Extent): void {
    let at = offset;
    const end = offset + length;
    for (const block of this.kept.within(blocksWithin(offset, length))) {
      const start = Math.max(block * BLOCK_BYTES, at);
      const stop = Math.min((block + 1) * BLOCK_BYTES, end);
      list.add(at, start - at, kind);
      list.add(start, stop - start, 'data');
      at = stop;
    }
    list.add(at, end - at, kind);
  }
}
