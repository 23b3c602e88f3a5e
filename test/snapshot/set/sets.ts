/** Sets for tests: backups of what a model holds, made as a backup makes them. */
import { SetWriter, type SetWriterOptions } from '../../../src/snapshot/set/index.js';
import { type SeededRandom, shuffled } from '../../support/devices/seeded-random.js';

export const BLOCK_BYTES = 4096;

/** A range of the volume that is put; null: it is told to be zeroes. */
export interface Change {
  readonly offset: number;
  readonly length: number;
  readonly content: Uint8Array | null;
}

/** A good backup with these changes. */
export async function makeBackup(
  directory: string,
  options: Partial<SetWriterOptions> & Pick<SetWriterOptions, 'name' | 'sizeBytes'>,
  changes: readonly Change[],
): Promise<SetWriter> {
  const writer = await SetWriter.create(directory, { since: null, label: 'volume', ...options });
  await Promise.all(
    changes.map(({ offset, length, content }) =>
      content === null ? writer.zero(offset, length) : writer.put(offset, content),
    ),
  );
  await writer.finish();
  return writer;
}

/** What a backup of all of `model` puts, in the order that the seed says. */
export function allOf(model: Uint8Array, random: SeededRandom): Change[] {
  return shuffled(rangesOf(model.length, random), random).map(([offset, length]) =>
    put(model, offset, length),
  );
}

/** Changes the model, and tells how; ranges are apart. */
export function change(model: Uint8Array, random: SeededRandom): Change[] {
  const chosen = rangesOf(model.length, random).filter(() => random.chance(0.3));
  return shuffled(chosen, random).map(([offset, length]) => {
    const content = random.chance(0.3) ? null : random.bytes(length);
    if (content !== null && random.chance(0.2)) content.fill(0);
    model.set(content ?? new Uint8Array(length), offset);
    return { offset, length, content };
  });
}

function put(model: Uint8Array, offset: number, length: number): Change {
  return { offset, length, content: model.slice(offset, offset + length) };
}

/** Ranges of whole blocks, but for the last, that make up so many bytes. */
function rangesOf(bytes: number, random: SeededRandom): [number, number][] {
  const ranges: [number, number][] = [];
  for (let at = 0; at < bytes; ) {
    const length = Math.min(random.between(1, 12) * BLOCK_BYTES, bytes - at);
    ranges.push([at, length]);
    at += length;
  }
  return ranges;
}
