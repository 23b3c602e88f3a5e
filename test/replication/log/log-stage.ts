/** A transaction log on a device that counts, and what is found in it. */
import { MemoryDevice } from '../../../src/device/memory.js';
import { CONTENT_OFFSET, SECTOR_BYTES } from '../../../src/replication/file-header.js';
import {
  logFileBytes,
  type OpenedLog,
  TransactionLog,
} from '../../../src/replication/log/transaction-log.js';
import { FaultyDevice } from '../../support/devices/faulty-device.js';

export const VOLUME = { volumeUuid: '4a869379:1fcd9f6b:344045f9:24675b97' };
export const ANOTHER = { volumeUuid: '00000000:1fcd9f6b:344045f9:24675b97' };

export async function logStage(sectors = 64) {
  const memory = new MemoryDevice(logFileBytes(sectors), { name: 'volume.log' });
  const device = new FaultyDevice(memory);
  const log = await TransactionLog.format(device, VOLUME);
  device.resetCounts();
  return { memory, device, log, open: () => TransactionLog.open(device, VOLUME) };
}

/** A log that is not damaged. */
export function whole(opened: OpenedLog): TransactionLog {
  if (opened.log === null) throw new Error(opened.damage);
  return opened.log;
}

export function block(from: number, count = 1) {
  return [{ from, count }];
}

/** Begins one, and gives its only number. */
export async function begun(log: TransactionLog, from: number): Promise<number> {
  const numbers = await log.begin(block(from));
  if (numbers?.length !== 1) throw new Error(`began ${numbers}`);
  return numbers[0]!;
}

export function activeNumbers({ active }: OpenedLog): number[] {
  return active.map(({ transaction }) => transaction);
}

export function activeBlocks({ active }: OpenedLog): Set<number> {
  const blocks = new Set<number>();
  for (const { ranges } of active) {
    for (const { from, count } of ranges) for (let at = from; at < from + count; at++) blocks.add(at);
  }
  return blocks;
}

/** Byte of the file at which the sector lies. */
export function offsetOfSector(number: number, sectors = 64): number {
  return CONTENT_OFFSET + ((number - 1) % sectors) * SECTOR_BYTES;
}

export async function rot(device: MemoryDevice, offset: number): Promise<void> {
  const sector = offset - (offset % SECTOR_BYTES);
  const bytes = new Uint8Array(SECTOR_BYTES);
  await device.read(sector, bytes);
  bytes[offset % SECTOR_BYTES]! ^= 0x10;
  await device.write(sector, bytes);
}
