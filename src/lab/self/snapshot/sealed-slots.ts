/**
 * JSON that is replaced as a whole, on a device whose power can be cut: two slots, each with a checksum and a number, and the newest
 * good one counts. It stands for a file that is written beside, made durable and renamed.
 */
import { crc32c } from '@node-rs/crc32';
import type { BlockDevice } from '../../../device/contract.js';

/** The blocks of no disk are longer: one slot tears alone. */
const SLOT_BYTES = 4096;
const SECTOR_BYTES = 512;
const HEADER_BYTES = 12;

export class SealedSlots<T> {
  static readonly bytes = 2 * SLOT_BYTES;
  #sequence = 0;
  /** The one that may be overwritten: the other one is durable, and counts until a put has succeeded. */
  #next = 0;

  constructor(private readonly device: BlockDevice) {}

  /** Of what was read or put last; 0: there is none. */
  get sequence(): number {
    return this.#sequence;
  }

  /** null: none was ever put. */
  async read(): Promise<T | null> {
    const bytes = new Uint8Array(SealedSlots.bytes);
    await this.device.read(0, bytes);
    const slots = [bytes.subarray(0, SLOT_BYTES), bytes.subarray(SLOT_BYTES)];
    const [newest] = slots.filter(isGood).sort((a, b) => sequenceOf(b) - sequenceOf(a));
    this.#next = newest === slots[0] ? 1 : 0;
    this.#sequence = newest === undefined ? 0 : sequenceOf(newest);
    return newest === undefined ? null : (JSON.parse(textOf(newest)) as T);
  }

  /** What was read is durable when it returns: whoever put it may have been killed before that. */
  async settle(): Promise<void> {
    await this.device.flush();
  }

  /** Durable when it returns; the old or the new one, until then. */
  async put(value: T): Promise<void> {
    this.#sequence += 1;
    await this.device.write(this.#next * SLOT_BYTES, encode(value, this.#sequence));
    await this.device.flush();
    this.#next = 1 - this.#next;
  }
}

function encode(value: unknown, sequence: number): Uint8Array {
  const text = Buffer.from(JSON.stringify(value));
  const sectors = Math.ceil((HEADER_BYTES + text.length) / SECTOR_BYTES);
  if (sectors * SECTOR_BYTES > SLOT_BYTES) throw new Error('the slot is too short');
  const bytes = new Uint8Array(sectors * SECTOR_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(4, sequence);
  view.setUint32(8, text.length);
  bytes.set(text, HEADER_BYTES);
  view.setUint32(0, crc32c(bytes.subarray(4, HEADER_BYTES + text.length)));
  return bytes;
}

function isGood(slot: Uint8Array): boolean {
  const length = numberAt(slot, 8);
  if (sequenceOf(slot) === 0 || HEADER_BYTES + length > SLOT_BYTES) return false;
  return numberAt(slot, 0) === crc32c(slot.subarray(4, HEADER_BYTES + length));
}

function sequenceOf(slot: Uint8Array): number {
  return numberAt(slot, 4);
}

function textOf(slot: Uint8Array): string {
  return Buffer.from(slot.subarray(HEADER_BYTES, HEADER_BYTES + numberAt(slot, 8))).toString();
}

function numberAt(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(at);
}
