/**
 * A stream into a file of an extents volume, with commit points at exact sizes: every `commitEveryBytes` all that came
 * before is committed, while what follows is written already.
 */
import type { BlockDevice } from '../device/contract.js';
import { type StreamOptions, writeStream } from './stream.js';

/** Where it goes. `size`: the most that it may grow to. */
export interface CommitTarget extends Pick<BlockDevice, 'name' | 'size' | 'write'> {
  commit(): Promise<unknown>;
}

export interface CommittedStreamOptions extends StreamOptions {
  readonly totalBytes?: number | undefined;
  /** Bytes; absent: nothing is committed here. */
  readonly commitEveryBytes?: number | undefined;
}

/** More of them at a time gain nothing: they are done one after another. */
const COMMITS_AT_ONCE = 2;

/** Writes all of `source` from `offset` on; how many bytes that was. What is left after the last commit point is not committed. */
export async function writeCommitted(
  target: CommitTarget,
  offset: number,
  source: AsyncIterable<Uint8Array>,
  { commitEveryBytes = Number.POSITIVE_INFINITY, onProgress, totalBytes, signal }: CommittedStreamOptions,
): Promise<number> {
  const pieces = new Pieces(source);
  const commits: Promise<unknown>[] = [];
  let at = offset;
  try {
    for (;;) {
      const before = at - offset;
      const written = await writeStream(target, at, pieces.upTo(commitEveryBytes), {
        signal,
        onProgress: (done) => onProgress?.(before + done, totalBytes ?? before + done),
      });
      at += written;
      if (written < commitEveryBytes) break;
      commits.push(watched(target.commit()));
      if (commits.length >= COMMITS_AT_ONCE) await commits.shift();
    }
    await Promise.all(commits);
  } finally {
    await pieces.close();
  }
  return at - offset;
}

/** Its failure is thrown where it is waited for, which may be later. */
function watched(commit: Promise<unknown>): Promise<unknown> {
  commit.catch(() => undefined);
  return commit;
}

/** A stream that is taken in parts of exact sizes. */
class Pieces {
  readonly #source: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** The next so many bytes; fewer where it ends. */
  async *upTo(bytes: number): AsyncGenerator<Uint8Array> {
    for (let left = bytes; left > 0; ) {
      if (this.#rest.length === 0) {
        const next = await this.#source.next();
        if (next.done === true) return;
        this.#rest = next.value;
      }
      const piece = this.#rest.subarray(0, Math.min(left, this.#rest.length));
      this.#rest = this.#rest.subarray(piece.length);
      left -= piece.length;
      yield piece;
    }
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }
}
