/**
 * What a trace is made of, as it lies in frames: a code, then numbers of variable length (LEB128, below 2^53) and bytes. An item may
 * name those before it alone: a content, a device or an operation by its number, counted as they come.
 */

export const SECTOR_BYTES = 512;
/** What is written is cut at multiples of this of the device, and each piece is kept once. */
export const PIECE_BYTES = 4096;

export const ITEM = {
  /** Text: the command that was recorded, as JSON. */
  command: 1,
  /** Bytes, bytes of a block, text: its name. */
  device: 2,
  /** Sectors, and so many bytes of 512. */
  content: 3,
  /** Device, page of 4096 bytes, content: what was there before. */
  base: 4,
  /** Microseconds since the event before, device, what (see KINDS), first sector, sectors; of a write its pieces' contents. */
  submit: 5,
  /** Microseconds, how many operations before the newest one it is. */
  complete: 6,
  /** Microseconds, text: its name, text: its detail as JSON, or nothing. */
  mark: 7,
  /** How many devices, contents, operations and events there are. Nothing comes behind it. */
  end: 8,
  /** Bytes, text: its name. Of a volume: what clients use, of which the devices are the images. Counted by itself. */
  disk: 9,
  /** As `submit`, of a disk and in bytes; what is written comes in whole sectors, with zeroes around it. Counted by itself. */
  asked: 10,
  /** Microseconds, how many requests before the newest one it is. */
  answered: 11,
  /** Text: what was opened, as it was named, without links. */
  volume: 12,
  /** Text: its path, bytes, and so many bytes: what a file beside the images held before. */
  file: 13,
  /** Device, and how many bytes, one more, and they; or 0: it is a file that is replaced as a whole, and these are its versions, from 0. */
  version: 14,
} as const;

/** By their places; with fua 4 more. */
export const KINDS = ['write', 'write-zeroes', 'trim', 'flush'] as const;
export const FUA = 4;

/** A content's number is one less; this one is zeroes. */
export const ZEROES_REF = 0;

/** How many pieces a range has. */
export function piecesOf(offset: number, length: number): number {
  return Math.ceil((offset + length) / PIECE_BYTES) - Math.floor(offset / PIECE_BYTES);
}

/** Items on their way to a frame. */
export class ItemWriter {
  #bytes = new Uint8Array(64 * 1024);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  numbers(...numbers: number[]): void {
    for (const number of numbers) this.#number(number);
  }

  text(text: string): void {
    const bytes = Buffer.from(text);
    this.#number(bytes.length);
    this.bytes(bytes);
  }

  bytes(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** All of them; then there are none. */
  take(): Uint8Array {
    const taken = this.#bytes.slice(0, this.#length);
    this.#length = 0;
    return taken;
  }

  #number(number: number): void {
    this.#room(8);
    let rest = number;
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#length++] = rest;
  }

  #room(bytes: number): void {
    if (this.#length + bytes <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + bytes));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}

/** Why what is read can be no trace. */
export class TraceDamage extends Error {}

/** Items of one frame. Throws TraceDamage where there is less than is asked for. */
export class ItemReader {
  #at = 0;

  constructor(private readonly all: Uint8Array) {}

  get offset(): number {
    return this.#at;
  }

  get leftBytes(): number {
    return this.all.length - this.#at;
  }

  get isAtEnd(): boolean {
    return this.#at === this.all.length;
  }

  number(): number {
    let number = 0;
    for (let factor = 1; factor < 2 ** 53; factor *= 0x80) {
      const byte = this.all[this.#at++];
      if (byte === undefined) throw new TraceDamage('an item is cut short');
      number += (byte & 0x7f) * factor;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(number)) break;
        return number;
      }
    }
    throw new TraceDamage('a number is too large');
  }

  bytes(length: number): Uint8Array {
    if (length > this.all.length - this.#at) throw new TraceDamage('an item is cut short');
    this.#at += length;
    return this.all.subarray(this.#at - length, this.#at);
  }

  text(): string {
    return Buffer.from(this.bytes(this.number())).toString('utf8');
  }
}
