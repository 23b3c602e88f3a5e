/**
 * Makes a device like a backup. What the device has is read first, and only blocks that differ are written: what an earlier
 * run has written is found equal, so a restore that was interrupted goes on by being run again.
 */

import type { BlockDevice, Extent } from '../../device/contract.js';
import { UserError } from '../../errors.js';
import { BLOCK_BYTES } from '../../replication/blocks.js';
import { differingRuns } from './differing-blocks.js';

const WINDOW_BYTES = 1024 * 1024;
const IN_FLIGHT = 4;
/** What one look at what is data takes in. */
const LOOK_BYTES = 1024 * 1024 * 1024;

export interface RestoreOptions {
  /** false: all is written, and nothing of the target is read. */
  readonly byDifference?: boolean;
  /** Nothing is written: only what would be is counted. */
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

export interface RestoreResult {
  readonly writtenBytes: number;
  /** What the target had already, or did not have to be told: holes where there are zeroes. */
  readonly equalBytes: number;
  readonly restoredBytes: number;
  readonly seconds: number;
}

interface Window {
  readonly offset: number;
  readonly length: number;
  readonly isZero: boolean;
}

/**
 * `target` is like `source` up to the end of that, durably. What lies behind is left alone.
 *
 * @throws UserError OUT_OF_RANGE (it does not fit), what `signal` is aborted with, and what reading and writing throw.
 */
export async function restoreBackup(
  source: BlockDevice,
  target: BlockDevice,
  options: RestoreOptions = {},
): Promise<RestoreResult> {
  assertFits(source, target);
  const startedMs = performance.now();
  const restore = new Restore(source, target, options);
  const inFlight = new Set<Promise<void>>();
  let failure: { readonly error: unknown } | null = null;
  try {
    for await (const window of windowsOf(source, target, options.byDifference !== false)) {
      options.signal?.throwIfAborted();
      if (failure !== null) break;
      const call: Promise<void> = restore
        .window(window)
        .catch((error: unknown) => {
          failure ??= { error };
        })
        .finally(() => inFlight.delete(call));
      inFlight.add(call);
      if (inFlight.size >= IN_FLIGHT) await Promise.race(inFlight);
      options.onProgress?.(window.offset, source.size);
    }
  } finally {
    // Whatever ended it: the devices are in use until then.
    await Promise.all(inFlight);
  }
  if (failure !== null) throw (failure as { error: unknown }).error;
  if (options.dryRun !== true) await target.flush();
  options.onProgress?.(source.size, source.size);
  return {
    writtenBytes: restore.writtenBytes,
    equalBytes: source.size - restore.writtenBytes,
    restoredBytes: source.size,
    seconds: Math.round(performance.now() - startedMs) / 1000,
  };
}

function assertFits(source: BlockDevice, target: BlockDevice): void {
  const fault = (why: string) =>
    new UserError('OUT_OF_RANGE', `${target.name}: ${why}`, {
      details: { image: target.name, sizeBytes: target.size, wantedBytes: source.size },
    });
  if (target.size < source.size)
    throw fault(`it has ${target.size} bytes, and the backup ${source.size}: it does not fit`);
  if (BLOCK_BYTES % target.blockSize !== 0)
    throw fault(`its blocks of ${target.blockSize} bytes are not those of a backup`);
  if (source.size % target.blockSize !== 0)
    throw fault(`the ${source.size} bytes of the backup are no whole blocks of ${target.blockSize} bytes`);
}

/** What is to be looked at. Where the source has zeroes, and the target a hole, that is nothing. */
async function* windowsOf(
  source: BlockDevice,
  target: BlockDevice,
  leavesHoles: boolean,
): AsyncGenerator<Window> {
  for (let at = 0; at < source.size; at += LOOK_BYTES) {
    const length = Math.min(LOOK_BYTES, source.size - at);
    for (const extent of await source.extents(at, length)) {
      if (extent.kind === 'data') yield* cut(extent, false);
      else if (!leavesHoles) yield { offset: extent.offset, length: extent.length, isZero: true };
      else {
        const own = await target.extents(extent.offset, extent.length);
        for (const data of own.filter(({ kind }) => kind === 'data')) yield* cut(data, true);
      }
    }
  }
}

function* cut({ offset, length }: Extent, isZero: boolean): Generator<Window> {
  const end = offset + length;
  for (let at = offset; at < end; ) {
    const size = Math.min(WINDOW_BYTES - (at % WINDOW_BYTES), end - at);
    yield { offset: at, length: size, isZero };
    at += size;
  }
}

class Restore {
  writtenBytes = 0;
  readonly #byDifference: boolean;
  readonly #isDry: boolean;

  constructor(
    private readonly source: BlockDevice,
    private readonly target: BlockDevice,
    { byDifference = true, dryRun = false }: RestoreOptions,
  ) {
    this.#byDifference = byDifference;
    this.#isDry = dryRun;
  }

  async window({ offset, length, isZero }: Window): Promise<void> {
    const wanted = isZero ? null : await this.#content(offset, length);
    const runs = this.#byDifference
      ? differingRuns(wanted, await this.#own(offset, length))
      : [{ start: 0, end: length }];
    for (const { start, end } of runs) {
      this.writtenBytes += end - start;
      if (this.#isDry) continue;
      if (wanted === null) await this.target.writeZeroes(offset + start, end - start);
      else await this.target.write(offset + start, wanted.subarray(start, end));
    }
  }

  async #content(offset: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    await this.source.read(offset, bytes);
    return bytes;
  }

  /** What the target has; of holes nothing is read. */
  async #own(offset: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    const extents = await this.target.extents(offset, length);
    if (extents.some(({ kind }) => kind === 'data')) await this.target.read(offset, bytes);
    return bytes;
  }
}
