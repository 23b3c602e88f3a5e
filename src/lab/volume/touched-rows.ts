/**
 * Rows of an array in which anything was written since its trace began, by clients or by a recovery. The parity of all others is
 * what it was in every state, and what they hold: it is enough that all were looked at once.
 */
import type { Trace } from '../../crash/trace.js';
import { type Range, RangeSet } from '../../device/range-set.js';
import type { Geometry } from '../../raid/geometry.js';
import { ROW_BYTES } from '../../raid/md/model.js';

export class TouchedRows {
  readonly #rows = new RangeSet();

  constructor(
    /** By device of the trace: where the data of a member begins on it, in bytes. */
    private readonly dataOffsets: ReadonlyMap<number, number>,
    private readonly geometry: Geometry,
  ) {}

  add({ events }: Trace): void {
    for (const event of events) {
      if (event.kind !== 'submit') continue;
      const { device, offset, length } = event.operation;
      const dataOffset = this.dataOffsets.get(device);
      if (dataOffset !== undefined && length > 0) this.#addRows(offset - dataOffset, length);
    }
  }

  /** Of each member's data, whole rows, ascending. */
  get rows(): readonly Range[] {
    return [...this.#rows.list()];
  }

  /** Bytes of the array, which these rows hold. */
  get data(): readonly Range[] {
    return dataOfRows(this.geometry, this.#rows.list());
  }

  #addRows(offset: number, length: number): void {
    const start = Math.max(0, Math.floor(offset / ROW_BYTES) * ROW_BYTES);
    const end = Math.min(this.geometry.memberSizeBytes, Math.ceil((offset + length) / ROW_BYTES) * ROW_BYTES);
    this.#rows.add(start, end);
  }
}

/** Bytes of the array that lie in these rows: ranges of each member's data. */
export function dataOfRows(geometry: Geometry, rows: readonly Range[]): readonly Range[] {
  const { chunkBytes, dataDisks, stripeDataBytes } = geometry;
  const data = new RangeSet();
  for (const { start, end } of rows)
    for (let at = start; at < end; ) {
      const stripe = Math.floor(at / chunkBytes);
      const until = Math.min(end, (stripe + 1) * chunkBytes);
      for (let chunk = 0; chunk < dataDisks; chunk++) {
        const offset = stripe * stripeDataBytes + (chunk - stripe) * chunkBytes;
        data.add(offset + at, offset + until);
      }
      at = until;
    }
  return data.list();
}
