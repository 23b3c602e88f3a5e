/**
 * What clients other than the primary see of a place for a secondary: the image, read only, with the epochs over it that are
 * durable or being gathered. While the place is opened anew reads wait.
 */
import { allEnded } from '../../../device/all-ended.js';
import { byteLength, sliceBuffers } from '../../../device/buffers.js';
import type { BlockDevice, Buffers, Extent } from '../../../device/contract.js';
import { ExtentList } from '../../../device/extent-list.js';
import { ReadOnlyDevice } from '../../../device/read-only-device.js';
import type { HostedPlace } from './hosted-place.js';

type Seen = Pick<HostedPlace, 'image' | 'device'>;

/** Calls `use` in the turn in which nothing is being opened or closed; what it begins in that turn ends before that is. */
export type UsePlace = <T>(use: (place: Seen) => Promise<T>) => Promise<T>;

export class HostView extends ReadOnlyDevice {
  constructor(
    shape: Pick<BlockDevice, 'name' | 'size' | 'blockSize'>,
    private readonly use: UsePlace,
  ) {
    super(shape);
  }

  read(offset: number, into: Buffers): Promise<void> {
    const length = byteLength(into);
    return this.guard.run('read', offset, length, () =>
      this.use((place) =>
        allEnded(
          partsOf(place, offset, length).map(({ device, start, end }) =>
            device.read(start, sliceBuffers(into, start - offset, end - start)),
          ),
        ),
      ),
    );
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.guard.ask(offset, length, [], () =>
      this.use(async (place) => {
        const parts = partsOf(place, offset, length);
        const list = new ExtentList();
        const found = parts.map(({ device, start, end }) => device.extents(start, end - start));
        for (const extents of await Promise.all(found)) list.addAll(extents);
        return list.list();
      }),
    );
  }
}

/** The secondary may be shorter than its image. */
function partsOf({ image, device }: Seen, offset: number, length: number) {
  const end = offset + length;
  const border = device === null ? offset : Math.max(offset, Math.min(device.size, end));
  const parts = [
    { device: device ?? image, start: offset, end: border },
    { device: image, start: border, end },
  ];
  return parts.filter(({ start, end }) => start < end);
}
