/**
 * Reads and writes of any bytes on a device that takes whole blocks: what lies around them in the first and the
 * last block is read, and written back with them.
 *
 * The caller holds the claim on all blocks that are touched (OrderedDevice does): between the read and the write
 * nobody else may write to them, or his write would be undone.
 */

import { bufferList } from '../../device/buffers.js';
import type { BlockDevice, Buffers, WriteOptions } from '../../device/contract.js';

export function isAligned(device: BlockDevice, offset: number, length: number): boolean {
  return offset % device.blockSize === 0 && length % device.blockSize === 0;
}

/** Bytes: the start of the block that `offset` lies in. */
export function blockStart(device: BlockDevice, offset: number): number {
  return offset - (offset % device.blockSize);
}

/** Bytes: the end of the block that the byte before `end` lies in. */
export function blockEnd(device: BlockDevice, end: number): number {
  return Math.ceil(end / device.blockSize) * device.blockSize;
}

export async function readBytes(device: BlockDevice, offset: number, into: Uint8Array): Promise<void> {
  const start = blockStart(device, offset);
  const blocks = new Uint8Array(blockEnd(device, offset + into.byteLength) - start);
  await device.read(start, blocks);
  into.set(blocks.subarray(offset - start, offset - start + into.byteLength));
}

/** `length` is the bytes of `from`, 1 or more. */
export async function writeBytes(
  device: BlockDevice,
  offset: number,
  from: Buffers,
  length: number,
  options: WriteOptions,
): Promise<void> {
  const end = offset + length;
  const start = blockStart(device, offset);
  const stop = blockEnd(device, end);
  const head = start === offset ? null : await blockAt(device, start);
  const lastBlock = stop - device.blockSize;
  const tail =
    stop === end ? null : lastBlock === start && head !== null ? head : await blockAt(device, lastBlock);
  const whole = [
    ...(head === null ? [] : [head.subarray(0, offset - start)]),
    ...bufferList(from),
    ...(tail === null ? [] : [tail.subarray(end - lastBlock)]),
  ];
  await device.write(start, whole, options);
}

/** Zeroes whole blocks as the device does it, and writes zeroes to the rest. */
export async function zeroBytes(
  device: BlockDevice,
  offset: number,
  length: number,
  options: WriteOptions,
): Promise<void> {
  const end = offset + length;
  const firstWhole = blockEnd(device, offset);
  const endWhole = blockStart(device, end);
  const edge = (from: number, to: number) =>
    writeBytes(device, from, new Uint8Array(to - from), to - from, options);
  if (firstWhole >= endWhole) {
    await edge(offset, end);
    return;
  }
  if (offset < firstWhole) await edge(offset, firstWhole);
  await device.writeZeroes(firstWhole, endWhole - firstWhole, options);
  if (endWhole < end) await edge(endWhole, end);
}

async function blockAt(device: BlockDevice, start: number): Promise<Uint8Array> {
  const block = new Uint8Array(device.blockSize);
  await device.read(start, block);
  return block;
}
