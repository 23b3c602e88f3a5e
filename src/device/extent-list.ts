/**
 * Builds the answer of `extents`: in order, without gaps, neighbours of one kind joined.
 */
import type { Extent, ExtentKind } from './contract.js';

export class ExtentList {
  readonly #extents: Extent[] = [];

  /** Adds the next piece, which must start where the last one ended. Empty pieces are left out. */
  add(offset: number, length: number, kind: ExtentKind): void {
    if (length === 0) return;
    const last = this.#extents.at(-1);
    if (last !== undefined && last.offset + last.length !== offset) {
      throw new RangeError(
        `an extent at ${offset} does not follow the one that ends at ${last.offset + last.length}`,
      );
    }
    if (last?.kind === kind) {
      this.#extents[this.#extents.length - 1] = { ...last, length: last.length + length };
    } else {
      this.#extents.push({ offset, length, kind });
    }
  }

  addAll(extents: readonly Extent[]): void {
    for (const { offset, length, kind } of extents) this.add(offset, length, kind);
  }

  list(): Extent[] {
    return this.#extents;
  }
}
