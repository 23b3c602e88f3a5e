/** The devices of a secondary for tests: in memory, and through whatever stands before them. */
import type { BlockDevice } from '../../../device/contract.js';
import { MemoryDevice } from '../../../device/memory.js';
import {
  createSecondary,
  type Generation,
  keptBytesFor,
  MARKS_BYTES,
  type NewSecondary,
  type SecondaryParts,
} from '../../../replication/secondary/index.js';
import { withCalls } from '../with-calls.js';

export const PARTS = ['image', 'epochs', 'kept', 'marks'] as const;
export type PartName = (typeof PARTS)[number];

export interface Sizes {
  readonly imageBytes: number;
  /** Of the epoch log, with its header. */
  readonly logBytes: number;
  readonly keptBytes?: number;
}

export const FIRST: Generation = { number: 7, id: new Uint8Array(16).fill(7) };
export const SECOND: Generation = { number: 8, id: new Uint8Array(16).fill(8) };

export function sizeOf(part: PartName, { imageBytes, logBytes, keptBytes }: Sizes): number {
  const sizes = {
    image: imageBytes,
    epochs: logBytes,
    kept: keptBytes ?? keptBytesFor(imageBytes),
    marks: MARKS_BYTES,
  };
  return sizes[part];
}

/** One device a part. */
export function partsBy<D extends BlockDevice>(
  make: (part: PartName, index: number) => D,
): Record<PartName, D> {
  return Object.fromEntries(PARTS.map((part, index) => [part, make(part, index)])) as Record<PartName, D>;
}

export function memoryParts(sizes: Sizes): Record<PartName, MemoryDevice> {
  return partsBy((part) => new MemoryDevice(sizeOf(part, sizes), { name: part }));
}

export async function create(
  parts: SecondaryParts,
  sizeBytes: number,
  state: NewSecondary['state'] = 'consistent',
): Promise<void> {
  const uuids = { volumeUuid: new Uint8Array(16).fill(1), replicaUuid: new Uint8Array(16).fill(2) };
  await createSecondary(parts, { ...uuids, sizeBytes, generation: FIRST, state });
}

/** The parts, which stay open when the secondary is closed. */
export function lent(parts: SecondaryParts): SecondaryParts {
  return partsBy((part) => withCalls(parts[part], { close: async () => undefined }));
}

export async function contentOf(device: BlockDevice, sizeBytes = device.size): Promise<Uint8Array> {
  const bytes = new Uint8Array(sizeBytes);
  await device.read(0, bytes);
  return bytes;
}
