/**
 * The partial parity log: before the kernel writes part of a stripe, it writes to the log of the member that
 * holds the parity the XOR of the chunks that stay. After a crash that and the chunks as they are give the
 * parity (Linux drivers/md/raid5-ppl.c).
 *
 * Read and checked here; ppl-replay.ts makes parity from it.
 *
 * Invariants
 * - A header counts only with its checksum and the array's signature; an entry only if its partial parity has
 *   its checksum and lies within the log.
 * - In a log with room for several headers the newest in the chain from its start counts. So an empty header
 *   alone does not empty a log: what is behind it could be newer. All of it is zeroed first.
 */
import { crc32c } from '@node-rs/crc32';
import type { BlockDevice } from '../../device/contract.js';
import { UncheckedBytes } from '../../structure.js';
import { PPL_ENTRY, PPL_HEADER, PPL_MAX_ENTRIES } from './fields-logs.js';
import { SECTOR_BYTES, type Superblock } from './model.js';
import { setUuidBytes } from './uuid.js';

/** Enough to check a partial parity of any size without holding all of it. */
const CHECK_BYTES = 1024 * 1024;

export interface PplEntry {
  /** Of the array. */
  readonly dataOffset: number;
  readonly dataBytes: number;
  /** 0: whole stripes were to be written. */
  readonly parityBytes: number;
  readonly paritySlot: number;
  /** Where its partial parity lies, in the image. */
  readonly parityAt: number;
}

/** What the newest header of one log holds. */
export interface PplLog {
  readonly generation: bigint;
  /** Those whose partial parity is whole, in order. */
  readonly entries: readonly PplEntry[];
  /** How many entries cannot be used, and why the first cannot. */
  readonly unusable: number;
  readonly reason: string;
}

/** No header counts: nothing is known of what was being written. */
export interface NoPplLog {
  readonly reason: string;
}

/** The kernel's ~crc32c_le(~0, ...), which is plain CRC-32C. */
export function pplSignature(setUuid: Uint8Array): number {
  return crc32c(setUuid);
}

/** A header without entries, 4 KiB, as the kernel and mdadm write it. `setUuid`: see setUuidBytes. */
export function emptyPplHeader(setUuid: Uint8Array): Uint8Array {
  const raw = new Uint8Array(PPL_HEADER.sizeBytes);
  const view = PPL_HEADER.at(raw);
  view.bytes('reserved').fill(0xff);
  view.setNumber('signature', pplSignature(setUuid));
  view.setNumber('checksum', crc32c(raw));
  return raw;
}

/**
 * Empties a member's log. Durable after the next flush; a crash in between leaves a log without a header,
 * which makes the kernel resync. Throws DeviceError.
 */
export async function emptyPpl(device: BlockDevice, superblock: Superblock): Promise<void> {
  const { offset, lengthBytes } = placeOf(superblock);
  await device.writeZeroes(offset, lengthBytes);
  await device.write(offset, emptyPplHeader(setUuidBytes(superblock)));
}

/** Reads a member's log. Throws DeviceError if the image cannot be read. */
export async function readPpl(device: BlockDevice, superblock: Superblock): Promise<PplLog | NoPplLog> {
  const place = placeOf(superblock);
  const signature = pplSignature(setUuidBytes(superblock));
  let newest: { header: Uint8Array; at: number } | null = null;
  let reason = '';
  let at = 0;
  while (at < place.lengthBytes - PPL_HEADER.sizeBytes) {
    const header = new Uint8Array(PPL_HEADER.sizeBytes);
    await device.read(place.offset + at, header);
    reason = checkHeader(new UncheckedBytes(header, place.offset + at), signature);
    if (reason !== '') break;
    if (newest !== null && generationOf(newest.header) > generationOf(header)) break;
    newest = { header, at };
    at += PPL_HEADER.sizeBytes + parityBytesOf(header);
  }
  if (newest === null) return { reason };
  return checkEntries(device, newest.header, place.offset + newest.at, place.offset + place.lengthBytes);
}

function placeOf(superblock: Superblock): { offset: number; lengthBytes: number } {
  if (superblock.ppl === null) throw new Error('this member has no partial parity log');
  return superblock.ppl;
}

/** '' if it counts. */
function checkHeader(found: UncheckedBytes, signature: number): string {
  const view = PPL_HEADER.at(found.bytes);
  const where = `the partial parity log's header at byte ${found.foundAt}`;
  const zeroed = found.bytes.slice();
  PPL_HEADER.at(zeroed).setNumber('checksum', 0);
  if (crc32c(zeroed) !== view.number('checksum')) return `${where} has a wrong checksum`;
  if (view.number('signature') !== signature) return `${where} is of another array`;
  const count = view.number('entries_count');
  return count > PPL_MAX_ENTRIES
    ? `${where} claims ${count} entries, there is room for ${PPL_MAX_ENTRIES}`
    : '';
}

function generationOf(header: Uint8Array): bigint {
  return PPL_HEADER.at(header).big('generation');
}

function entryAt(header: Uint8Array, index: number): ReturnType<(typeof PPL_ENTRY)['at']> {
  return PPL_ENTRY.at(header, PPL_HEADER.offsetOf('entries') + index * PPL_ENTRY.sizeBytes);
}

/** Kernel: sectors, so that a size that is no whole sector does not shift what follows. */
function wholeSectors(bytes: number): number {
  return bytes - (bytes % SECTOR_BYTES);
}

function parityBytesOf(header: Uint8Array): number {
  let sum = 0;
  for (let index = 0; index < PPL_HEADER.at(header).number('entries_count'); index++) {
    sum += wholeSectors(entryAt(header, index).number('pp_size'));
  }
  return sum;
}

async function checkEntries(
  device: BlockDevice,
  header: Uint8Array,
  headerAt: number,
  logEnd: number,
): Promise<PplLog> {
  const entries: PplEntry[] = [];
  let unusable = 0;
  let reason = '';
  let parityAt = headerAt + PPL_HEADER.sizeBytes;
  for (let index = 0; index < PPL_HEADER.at(header).number('entries_count'); index++) {
    const view = entryAt(header, index);
    const parityBytes = view.number('pp_size');
    const wrong = await checkEntry(device, view, parityAt, logEnd);
    if (wrong === '') {
      entries.push({
        dataOffset: Number(view.big('data_sector')) * SECTOR_BYTES,
        dataBytes: view.number('data_size'),
        parityBytes,
        paritySlot: view.number('parity_disk'),
        parityAt,
      });
    } else {
      unusable++;
      reason ||= `entry ${index} of the partial parity log at byte ${headerAt}: ${wrong}`;
    }
    parityAt += wholeSectors(parityBytes);
  }
  return { generation: generationOf(header), entries, unusable, reason };
}

/** '' if it can be used. */
async function checkEntry(
  device: BlockDevice,
  view: ReturnType<typeof entryAt>,
  parityAt: number,
  logEnd: number,
): Promise<string> {
  const length = view.number('pp_size');
  if (length % SECTOR_BYTES !== 0 || view.number('data_size') % SECTOR_BYTES !== 0)
    return 'its sizes are no whole sectors';
  if (parityAt + length > logEnd) return 'its partial parity would reach behind the log';
  if (view.big('data_sector') > BigInt(Number.MAX_SAFE_INTEGER) / BigInt(SECTOR_BYTES)) {
    return `it names sector ${view.big('data_sector')}`;
  }
  let sum = 0;
  for (let done = 0; done < length; done += CHECK_BYTES) {
    const piece = new Uint8Array(Math.min(CHECK_BYTES, length - done));
    await device.read(parityAt + done, piece);
    sum = crc32c(piece, sum);
  }
  return sum === view.number('checksum') ? '' : 'its partial parity has a wrong checksum: the cut tore it';
}
