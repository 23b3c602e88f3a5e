/**
 * The barriers of the metadata engine, told by what is written before them or with them, and a device that leaves one of
 * them out.
 */
import type { BlockDevice } from '../../../src/device/contract.js';
import { RANGE_OFFSET } from '../../../src/lab/self/metadata/recording.js';
import { withCalls } from '../../../src/lab/self/with-calls.js';
import { BLOCK_BYTES, halfBytesOf, PAGE_BYTES } from '../../../src/metadata/engine/layout.js';

export type Barrier =
  | 'fua of a log record'
  | 'fua of a root'
  | 'fua of a header'
  | 'flush between pages and root'
  | 'flush after copies were mended'
  | 'flush between the old header and the new engine'
  | 'flush between the new engine and its header';

/** What was written without fua since the last flush. */
interface Written {
  readonly halves: Set<number>;
  hasHeader: boolean;
  hasRoot: boolean;
}

function nothing(): Written {
  return { halves: new Set(), hasHeader: false, hasRoot: false };
}

/** `leftOut`: how often it was. */
export function withoutBarrier(
  device: BlockDevice,
  left: Barrier,
): { device: BlockDevice; leftOut: () => number } {
  const halfBytes = halfBytesOf({ device, offset: RANGE_OFFSET, length: device.size - RANGE_OFFSET });
  let count = 0;
  let written = nothing();
  const isLeft = (barrier: Barrier): boolean => {
    if (barrier === left) count += 1;
    return barrier === left;
  };
  const mutated = withCalls(device, {
    async write(offset, from, options = {}) {
      const at = (offset - RANGE_OFFSET) % halfBytes;
      const [isHeader, isRoot] = [at < BLOCK_BYTES, at >= BLOCK_BYTES && at < PAGE_BYTES];
      if (options.fua === true) {
        const barrier = isHeader ? 'fua of a header' : isRoot ? 'fua of a root' : 'fua of a log record';
        return device.write(offset, from, isLeft(barrier) ? {} : options);
      }
      written.halves.add(Math.floor((offset - RANGE_OFFSET) / halfBytes));
      written.hasHeader ||= isHeader;
      written.hasRoot ||= isRoot;
      await device.write(offset, from);
    },
    async flush() {
      const barrier = barrierBehind(written);
      written = nothing();
      if (barrier === null || !isLeft(barrier)) await device.flush();
    },
  });
  return { device: mutated, leftOut: () => count };
}

/** A flush, by what was written before it; null: nothing was. */
function barrierBehind({ halves, hasHeader, hasRoot }: Written): Barrier | null {
  if (halves.size === 0) return null;
  if (halves.size === 1) return 'flush after copies were mended';
  if (hasHeader) return 'flush between the old header and the new engine';
  return hasRoot ? 'flush between the new engine and its header' : 'flush between pages and root';
}
