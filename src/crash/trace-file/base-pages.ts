/** What one device of a trace held before it, page by page: read from the trace's file when it is asked for. */
import type { Contents } from './contents.js';
import { PIECE_BYTES } from './items.js';

export class BasePages implements ReadonlyMap<number, Uint8Array> {
  /** Contents, by the pages' numbers. */
  readonly #pages = new Map<number, number>();

  constructor(private readonly contents: Contents) {}

  add(page: number, content: number): void {
    this.#pages.set(page, content);
  }

  get size(): number {
    return this.#pages.size;
  }

  has(page: number): boolean {
    return this.#pages.has(page);
  }

  /** 4096 bytes; at the device's end zeroes follow. Not to be changed. */
  get(page: number): Uint8Array | undefined {
    const content = this.#pages.get(page);
    if (content === undefined) return undefined;
    const bytes = this.contents.read(content);
    if (bytes.length === PIECE_BYTES) return bytes;
    const whole = new Uint8Array(PIECE_BYTES);
    whole.set(bytes);
    return whole;
  }

  keys(): MapIterator<number> {
    return this.#pages.keys();
  }

  *values(): MapIterator<Uint8Array> {
    for (const page of this.#pages.keys()) yield this.get(page)!;
  }

  *entries(): MapIterator<[number, Uint8Array]> {
    for (const page of this.#pages.keys()) yield [page, this.get(page)!];
  }

  forEach(body: (bytes: Uint8Array, page: number, map: ReadonlyMap<number, Uint8Array>) => void): void {
    for (const [page, bytes] of this.entries()) body(bytes, page, this);
  }

  [Symbol.iterator](): MapIterator<[number, Uint8Array]> {
    return this.entries();
  }
}
