/**
 * A state of one sector that lies twice, at 0 and at 4096: so a disk whose blocks are 4096 bytes long tears one alone. The
 * newest good one counts.
 *
 * Invariants
 * - `putBoth`: the second slot is written when the first is durable, and what depends on the state begins when both are. So
 *   a slot that is no good hides nothing: either it was being written, and nothing depends on it yet, or the other says
 *   the same.
 * - `putNext` writes one slot alone, and does not flush. It is called only when the other one is durable.
 * - An opening that writes makes both alike before it does anything else.
 */
import { crc32c } from '@node-rs/crc32';
import type { BlockDevice } from '../../device/contract.js';
import { UserError } from '../../errors.js';
import { SECTOR_BYTES } from '../file-header.js';

export const SLOTS_BYTES = 8192;
const SLOT_OFFSETS = [0, 4096] as const;
const CHECKSUM_OFFSET = 508;

/** `bad`: why it cannot be believed. */
export type Decoded<T> = T | { readonly bad: string };

export interface Sequenced {
  readonly sequence: number;
}

export interface SlotCodec<T extends Sequenced> {
  /** For people: "the marks", "the header of the epoch log". */
  readonly what: string;
  encode(value: T): Uint8Array;
  /** Throws UserError where the sector is of a later version. */
  decode(sector: Uint8Array): Decoded<T>;
}

export class Slots<T extends Sequenced> {
  private next = 0;

  constructor(
    private readonly device: BlockDevice,
    private readonly codec: SlotCodec<T>,
  ) {}

  /** The newest good one. Throws METADATA_DAMAGED where neither is good. */
  async read(): Promise<{ readonly value: T; readonly areAlike: boolean }> {
    const { device, codec } = this;
    if (device.size < SLOTS_BYTES)
      throw damage(device, 0, `${codec.what}: there are ${device.size} bytes, and it takes ${SLOTS_BYTES}`);
    const sectors = await Promise.all(SLOT_OFFSETS.map((offset) => this.sectorAt(offset)));
    const found = sectors.map((sector) => codec.decode(sector));
    const good = found.flatMap((each, slot) => ('bad' in each ? [] : [{ slot, value: each }]));
    const newest = good.toSorted((a, b) => b.value.sequence - a.value.sequence)[0];
    if (newest === undefined) {
      const reasons = found.map((each) => ('bad' in each ? each.bad : '')).join(', and ');
      throw damage(device, 0, `${codec.what} cannot be read: ${reasons}`);
    }
    this.next = 1 - newest.slot;
    return {
      value: newest.value,
      areAlike: good.every(({ value }) => value.sequence === newest.value.sequence) && good.length === 2,
    };
  }

  async putBoth(value: T): Promise<void> {
    await this.putDurably(value);
    await this.putDurably(value);
  }

  async putNext(value: T): Promise<void> {
    const offset = SLOT_OFFSETS[this.next]!;
    this.next = 1 - this.next;
    await this.device.write(offset, this.codec.encode(value));
  }

  private async putDurably(value: T): Promise<void> {
    await this.putNext(value);
    await this.device.flush();
  }

  private async sectorAt(offset: number): Promise<Uint8Array> {
    const sector = new Uint8Array(SECTOR_BYTES);
    await this.device.read(offset, sector);
    return sector;
  }
}

/** Puts the checksum at the end of the sector. */
export function seal(sector: Uint8Array): Uint8Array {
  viewOf(sector).setUint32(CHECKSUM_OFFSET, checksumOf(sector), true);
  return sector;
}

export function isSealed(sector: Uint8Array): boolean {
  return viewOf(sector).getUint32(CHECKSUM_OFFSET, true) === checksumOf(sector);
}

function checksumOf(sector: Uint8Array): number {
  return crc32c(sector.subarray(0, CHECKSUM_OFFSET));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export interface Features {
  readonly version: number;
  readonly incompat: number;
}

/** Throws UNSUPPORTED where a later holdfast wrote it. */
export function refuseLater(what: string, { version, incompat }: Features, known: number): void {
  if (version === known && incompat === 0) return;
  const why =
    version === known
      ? `has features that are not known here (incompat 0x${incompat.toString(16)})`
      : `is of version ${version}`;
  throw new UserError('UNSUPPORTED', `${what} ${why}, and this holdfast knows version ${known}`, {
    hint: 'Use the holdfast that wrote it, or a later one.',
  });
}

export function damage(device: BlockDevice, offset: number, why: string): UserError {
  return new UserError('METADATA_DAMAGED', `${device.name}: ${why}`, {
    hint: 'Make the secondary anew from its primary; or promote it with --force and take it as it is.',
    details: { image: device.name, offsetBytes: offset },
  });
}
