/** A map file on a device that counts. */
import { MemoryDevice } from '../../../src/device/memory.js';
import { MapFile, type MapOwner } from '../../../src/replication/map/map-file.js';
import { MapLayout, mapFileBytes, type PageKind } from '../../../src/replication/map/page.js';
import { PAGE_BITS } from '../../../src/replication/map/words.js';
import { FaultyDevice } from '../../support/devices/faulty-device.js';

export const BLOCKS = 20 * PAGE_BITS - 100;

export function ownerOf(blocks = BLOCKS): MapOwner {
  return {
    volumeUuid: '4a869379:1fcd9f6b:344045f9:24675b97',
    replicaUuid: '11111111:1fcd9f6b:344045f9:24675b97',
    blocks,
    kind: 'dirty',
  };
}

export async function mapStage(blocks = BLOCKS) {
  const owner = ownerOf(blocks);
  const memory = new MemoryDevice(mapFileBytes(blocks), { name: 'replica.map' });
  const device = new FaultyDevice(memory);
  const file = await MapFile.format(device, owner);
  device.resetCounts();
  const layout = new MapLayout(blocks);
  return {
    owner,
    memory,
    device,
    file,
    open: () => MapFile.open(device, owner),
    at: (kind: PageKind, number: number) => layout.offsetOf(kind, number),
  };
}

/** Block `bit` of page `page`. */
export function inPage(page: number, bit = 0, count = 1) {
  return { from: page * PAGE_BITS + bit, count };
}

export async function setDurably(file: MapFile, ...ranges: { from: number; count: number }[]): Promise<void> {
  for (const range of ranges) file.map.set(range);
  await file.persist(ranges);
}
