/**
 * The two halves of an engine's range: every structure has a copy at the same place of each.
 *
 * Invariants
 * - What is written goes to both at once, and has ended in both when the call returns, also where one of them failed.
 * - A copy that cannot be read is as good as one that is damaged. What is wrong with both is thrown.
 */
import { adviseWrite } from '../../device/advice.js';
import { allEnded } from '../../device/all-ended.js';
import { UserError } from '../../errors.js';
import type { Half, MetadataFinding, MetadataFindingCode } from './findings.js';
import { damaged } from './findings.js';
import { BLOCK_BYTES, type EngineRange, halfBytesOf } from './layout.js';

export const HALVES: readonly Half[] = ['A', 'B'];

/** What was made of bytes that were read, or why they are no good. */
export type Checked<T> = { readonly good: T } | { readonly bad: string };

export type Check<T> = (bytes: Uint8Array) => Checked<T>;

/** What a structure is called in a finding, and where it lies in a half. */
export interface Place {
  readonly what: string;
  readonly code: MetadataFindingCode;
  readonly offset: number;
  readonly length: number;
}

export interface Copy<T> {
  readonly half: Half;
  readonly bytes: Uint8Array;
  readonly checked: Checked<T>;
  /** Where it could not be read at all. */
  readonly error: unknown;
}

export class Halves {
  readonly halfBytes: number;

  /** `halfBytes` where the header is known; before that the length of the range tells. */
  constructor(
    readonly range: EngineRange,
    halfBytes?: number,
  ) {
    this.halfBytes = halfBytes ?? halfBytesOf(range);
  }

  /** Byte of the image. */
  offsetIn(half: Half, offset: number): number {
    return this.range.offset + (half === 'A' ? 0 : this.halfBytes) + offset;
  }

  /** A part of both is written soon. */
  advise(offset: number, length: number): void {
    for (const half of HALVES) adviseWrite(this.range.device, this.offsetIn(half, offset), length);
  }

  async copy<T>(half: Half, { offset, length }: Place, check: Check<T>): Promise<Copy<T>> {
    const bytes = new Uint8Array(length);
    try {
      await this.range.device.read(this.offsetIn(half, offset), bytes);
    } catch (error) {
      // Another copy may be had; who finds none throws it.
      if (!(error instanceof UserError)) throw error;
      return { half, bytes, checked: { bad: `it cannot be read: ${error.message}` }, error };
    }
    return { half, bytes, checked: check(bytes), error: null };
  }

  both<T>(place: Place, check: Check<T>): Promise<Copy<T>[]> {
    return Promise.all(HALVES.map((half) => this.copy(half, place, check)));
  }

  /** From A; where that is no good from B, and then `found` is told. Throws METADATA_DAMAGED where neither is good. */
  async read<T>(place: Place, check: Check<T>, found: (finding: MetadataFinding) => void): Promise<T> {
    const copies: Copy<T>[] = [];
    for (const half of HALVES) {
      const copy = await this.copy(half, place, check);
      if ('good' in copy.checked) {
        for (const bad of copies) found(this.finding(bad, place));
        return copy.checked.good;
      }
      copies.push(copy);
    }
    throw this.damage(copies, place);
  }

  async write(offset: number, bytes: Uint8Array, options: { fua?: boolean } = {}): Promise<void> {
    const writes = HALVES.map((half) => this.range.device.write(this.offsetIn(half, offset), bytes, options));
    await allEnded(writes);
  }

  /** Writes one copy alone, where the other one is known to be whole. */
  mend(half: Half, offset: number, bytes: Uint8Array): Promise<void> {
    return this.range.device.write(this.offsetIn(half, offset), bytes);
  }

  flush(): Promise<void> {
    return this.range.device.flush();
  }

  finding<T>({ half, checked }: Copy<T>, place: Place): MetadataFinding {
    const offsetBytes = this.offsetIn(half, place.offset);
    const why = 'bad' in checked ? checked.bad : 'the other copy counts';
    const { name } = this.range.device;
    const { code, length } = place;
    const message = `${name}: copy ${half} of ${place.what} at offset ${offsetBytes} is damaged: ${why}`;
    return { code, image: name, offsetBytes, lengthBytes: length, message };
  }

  /** Of what is no good in either half. */
  damage<T>(copies: readonly Copy<T>[], place: Place): unknown {
    const unread = copies.find(({ error }) => error !== null);
    if (unread !== undefined && copies.every(({ error }) => error !== null)) return unread.error;
    const why = copies.map(({ half, checked }) => `${half}: ${'bad' in checked ? checked.bad : ''}`);
    const offset = this.offsetIn('A', place.offset);
    return damaged(this.range, offset, `${place.what} is damaged in both copies (${why.join('; ')})`);
  }
}

/** `bytes` in a buffer of whole blocks. */
export function inBlocks(bytes: Uint8Array): Uint8Array {
  const blocks = new Uint8Array(Math.ceil(bytes.byteLength / BLOCK_BYTES) * BLOCK_BYTES);
  blocks.set(bytes);
  return blocks;
}
