/** The images of fixtures/filesystems, and what dumpe2fs says of each. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { MemoryDevice } from '../../../src/device/memory.js';
import { RangeSet } from '../../../src/device/range-set.js';

const FOLDER = fileURLToPath(new URL('../../../fixtures/filesystems/', import.meta.url));
const FREE = JSON.parse(readFileSync(`${FOLDER}free.json`, 'utf8')) as Record<
  FixtureName,
  { blockBytes: number; free: [number, number][] }
>;

export type FixtureName = 'plain' | 'crc16' | 'bare' | 'journal';

export interface Fixture {
  readonly bytes: Buffer;
  readonly blockBytes: number;
  /** In bytes: what is not free. */
  readonly used: RangeSet;
}

export function fixture(name: FixtureName): Fixture {
  const bytes = gunzipSync(readFileSync(`${FOLDER}${name}.img.gz`));
  const { blockBytes, free } = FREE[name];
  const used = new RangeSet([{ start: 0, end: bytes.byteLength }]);
  for (const [from, end] of free) used.remove(from * blockBytes, end * blockBytes);
  return { bytes, blockBytes, used };
}

/** A device of this size in which each of these lies where it is said to; the rest is a hole. */
export async function deviceWith(
  size: number,
  pieces: readonly { readonly at: number; readonly bytes: Uint8Array }[],
  blockSize = 512,
): Promise<MemoryDevice> {
  const device = new MemoryDevice(size, { blockSize });
  for (const { at, bytes } of pieces) await writeData(device, at, bytes);
  return device;
}

async function writeData(device: MemoryDevice, offset: number, bytes: Uint8Array): Promise<void> {
  const zeroes = Buffer.alloc(4096);
  for (let at = 0; at < bytes.byteLength; at += 4096) {
    const content = bytes.subarray(at, at + 4096);
    const page = Buffer.alloc(Math.ceil(content.byteLength / device.blockSize) * device.blockSize);
    page.set(content);
    if (!page.equals(zeroes.subarray(0, page.byteLength))) await device.write(offset + at, page);
  }
}
