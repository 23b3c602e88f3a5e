/**
 * Bytes in memory of which only the pages that were written exist, so that a device of a terabyte costs what
 * was put into it. What has no page reads as zeroes.
 *
 * Reads and writes are whole when the call returns: nothing here waits.
 */
import { fillBuffers, scatter, sliceBuffers } from './buffers.js';
import type { Buffers } from './contract.js';
import type { ExtentList } from './extent-list.js';

const SMALLEST_PAGE_BYTES = 4096;

/** The part of one page that a range covers. */
interface Piece {
  readonly page: number;
  /** Within the page. */
  readonly start: number;
  readonly length: number;
  /** Within the range. */
  readonly at: number;
}

export class SparseMemory {
  readonly #pageBytes: number;
  readonly #pages = new Map<number, Uint8Array>();

  /** Extents come in whole pages, and pages are whole multiples of `blockSize` bytes. */
  constructor(blockSize: number) {
    this.#pageBytes = Math.ceil(SMALLEST_PAGE_BYTES / blockSize) * blockSize;
  }

  /** Bytes of the pages that exist. */
  get allocatedBytes(): number {
    return this.#pages.size * this.#pageBytes;
  }

  read(offset: number, length: number, into: Buffers, intoStart = 0): void {
    for (const { page, start, length: bytes, at } of this.#pieces(offset, length)) {
      const content = this.#pages.get(page);
      if (content === undefined) fillBuffers(into, intoStart + at, bytes, 0);
      else scatter(content.subarray(start, start + bytes), into, intoStart + at);
    }
  }

  write(offset: number, length: number, from: Buffers): void {
    for (const { page, start, length: bytes, at } of this.#pieces(offset, length)) {
      const content = this.#pageFor(page);
      let to = start;
      for (const view of sliceBuffers(from, at, bytes)) {
        content.set(view, to);
        to += view.byteLength;
      }
    }
  }

  /** Pages that are covered as a whole cease to exist. */
  zero(offset: number, length: number): void {
    const firstWhole = Math.ceil(offset / this.#pageBytes);
    const endWhole = Math.floor((offset + length) / this.#pageBytes);
    for (const page of this.#existing(firstWhole, endWhole)) this.#pages.delete(page);
    const edges = [Math.floor(offset / this.#pageBytes), endWhole];
    for (const page of new Set(edges)) {
      const pageStart = page * this.#pageBytes;
      const from = Math.max(offset, pageStart) - pageStart;
      const to = Math.min(offset + length, pageStart + this.#pageBytes) - pageStart;
      if (from < to) this.#pages.get(page)?.fill(0, from, to);
    }
  }

  /** Adds what the range consists of: pages are data, the rest is hole. */
  extents(offset: number, length: number, list: ExtentList): void {
    const end = offset + length;
    let at = offset;
    const last = Math.ceil(end / this.#pageBytes);
    const pages = this.#existing(Math.floor(offset / this.#pageBytes), last).sort((a, b) => a - b);
    for (const page of pages) {
      const start = Math.max(page * this.#pageBytes, at);
      const stop = Math.min((page + 1) * this.#pageBytes, end);
      list.add(at, start - at, 'hole');
      list.add(start, stop - start, 'data');
      at = stop;
    }
    list.add(at, end - at, 'hole');
  }

  clone(): SparseMemory {
    const copy = new SparseMemory(this.#pageBytes);
    for (const [page, content] of this.#pages) copy.#pages.set(page, content.slice());
    return copy;
  }

  /** Numbers of the pages in [first, end) that exist, by whichever is the shorter way to find them. */
  #existing(first: number, end: number): number[] {
    if (end - first > this.#pages.size) {
      return [...this.#pages.keys()].filter((page) => page >= first && page < end);
    }
    const found: number[] = [];
    for (let page = first; page < end; page++) if (this.#pages.has(page)) found.push(page);
    return found;
  }

  #pageFor(page: number): Uint8Array {
    let content = this.#pages.get(page);
    if (content === undefined) {
      content = new Uint8Array(this.#pageBytes);
      this.#pages.set(page, content);
    }
    return content;
  }

  *#pieces(offset: number, length: number): Generator<Piece> {
    for (let at = 0; at < length; ) {
      const page = Math.floor((offset + at) / this.#pageBytes);
      const start = offset + at - page * this.#pageBytes;
      const bytes = Math.min(this.#pageBytes - start, length - at);
      yield { page, start, length: bytes, at };
      at += bytes;
    }
  }
}
