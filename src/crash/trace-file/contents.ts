/** The contents of a trace's file: where each lies, and those in memory that were written. */
import type { Frames } from './frames.js';
import { type ItemReader, PIECE_BYTES, SECTOR_BYTES, TraceDamage, ZEROES_REF } from './items.js';

interface Place {
  /** Number of the frame. */
  readonly frame: number;
  /** In its items. */
  readonly offset: number;
  readonly length: number;
}

export class Contents {
  readonly #places: Place[] = [];
  /** Of those that were written, by their numbers. */
  readonly #written = new Map<number, Uint8Array>();

  constructor(private readonly frames: Frames) {}

  get length(): number {
    return this.#places.length;
  }

  /** The item's code was read. */
  add(items: ItemReader): void {
    const length = items.number() * SECTOR_BYTES;
    if (length === 0 || length > PIECE_BYTES) throw new TraceDamage(`a content has ${length} bytes`);
    this.#places.push({ frame: this.frames.count - 1, offset: items.offset, length });
    items.bytes(length);
  }

  assertHas(number: number): void {
    if (this.#places[number] === undefined) throw new TraceDamage(`there is no content ${number}`);
  }

  /** From the file; it is not kept. */
  read(number: number): Uint8Array {
    const { frame, offset, length } = this.#places[number]!;
    return this.frames.items(frame).subarray(offset, offset + length);
  }

  /** What a write of these pieces wrote; of one piece the same bytes as of any other that wrote it. Throws TraceDamage. */
  together(refs: readonly number[], offset: number, length: number): Uint8Array {
    let bytes: Uint8Array | null = null;
    for (let at = 0, piece = 0; at < length; piece++) {
      const end = Math.min(length, (Math.floor((offset + at) / PIECE_BYTES) + 1) * PIECE_BYTES - offset);
      const ref = refs[piece]!;
      if (ref !== ZEROES_REF) {
        const content = end - at === length ? this.#shared(ref - 1) : this.#once(ref - 1);
        if (content.length !== end - at)
          throw new TraceDamage(`content ${ref - 1} has ${content.length} bytes`);
        if (end - at === length) return content;
        bytes ??= new Uint8Array(length);
        bytes.set(content, at);
      }
      at = end;
    }
    return bytes ?? new Uint8Array(length);
  }

  /** For who copies it. */
  #once(number: number): Uint8Array {
    this.assertHas(number);
    return this.#written.get(number) ?? this.read(number);
  }

  #shared(number: number): Uint8Array {
    const known = this.#written.get(number);
    if (known !== undefined) return known;
    this.assertHas(number);
    const content = this.read(number).slice();
    this.#written.set(number, content);
    return content;
  }
}
