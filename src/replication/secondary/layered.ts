/** What lies below, as layers over it show it: the first layer is on top. Below is called in the turn of the call. */
import { allEnded } from '../../device/all-ended.js';
import { byteLength, fillBuffers, sliceBuffers } from '../../device/buffers.js';
import type { BlockDevice, Buffers, Extent } from '../../device/contract.js';
import { ExtentList } from '../../device/extent-list.js';
import { type Layer, partsOf } from './layer.js';

/** `readPayload`: content of a layer, from `skip` bytes on. */
export async function readLayered<P>(
  layers: readonly Layer<P>[],
  below: Pick<BlockDevice, 'read'>,
  offset: number,
  into: Buffers,
  readPayload: (payload: P, skip: number, buffers: readonly Uint8Array[]) => Promise<void> | undefined,
): Promise<void> {
  const parts = partsOf(layers, offset, offset + byteLength(into));
  const calls = parts.map(({ start, end, segment }) => {
    const buffers = sliceBuffers(into, start - offset, end - start);
    if (segment === null) return below.read(start, buffers);
    if (segment.payload !== null) return readPayload(segment.payload, segment.skip, buffers);
    fillBuffers(buffers, 0, end - start, 0);
    return undefined;
  });
  await allEnded(calls.flatMap((call) => call ?? []));
}

export async function extentsLayered<P>(
  layers: readonly Layer<P>[],
  below: Pick<BlockDevice, 'extents'>,
  offset: number,
  length: number,
): Promise<Extent[]> {
  const list = new ExtentList();
  for (const { start, end, segment } of partsOf(layers, offset, offset + length)) {
    if (segment === null) list.addAll(await below.extents(start, end - start));
    else list.add(start, end - start, segment.payload === null ? 'zero' : 'data');
  }
  return list.list();
}
