/**
 * Memory in which the blocks of a long run are put together before they go down, so that the lower device is handed
 * one buffer instead of hundreds: whatever it does for every buffer (views, plans, parity, system calls) costs more than
 * the copy does.
 *
 * The copy is taken before the lower device is asked and given back after it has answered. Where there is no room the
 * run goes down in its blocks' frames, as short ones always do.
 */
import { UserError } from '../../errors.js';
import { type Arena, BufferPool } from '../pool.js';

/** Fewer buffers than this are handed down as they are. */
const FEWEST_BUFFERS = 8;

interface Run {
  readonly from: readonly Uint8Array[];
  readonly offset: number;
  readonly end: number;
}

export interface StagedRun {
  readonly offset: number;
  readonly from: readonly Uint8Array[];
}

export interface Staged {
  /** As they were given, in the same order. */
  readonly runs: readonly StagedRun[];
  /** To be called once, when the lower device has answered. */
  release(): void;
}

export class Staging {
  #arena: Arena | null = null;
  #tried = false;

  constructor(
    private readonly name: string,
    private readonly capacityBytes: number,
  ) {}

  stage(runs: readonly Run[]): Staged {
    let bytes = 0;
    for (const run of runs) if (isLong(run)) bytes += run.end - run.offset;
    const arena = bytes === 0 ? null : this.#pool();
    const memory = arena === null || bytes > arena.capacity ? null : arena.tryAcquire(bytes);
    if (memory === null) return { runs, release: () => undefined };
    let at = 0;
    const staged = runs.map((run) => {
      if (!isLong(run)) return run;
      const start = at;
      for (const buffer of run.from) {
        memory.bytes.set(buffer, at);
        at += buffer.byteLength;
      }
      return { offset: run.offset, from: [memory.bytes.subarray(start, at)] };
    });
    return { runs: staged, release: () => memory.release() };
  }

  close(): void {
    this.#tried = true;
    this.#arena?.close();
    this.#arena = null;
  }

  /** Reserved by the first long run; a pool that has no room for it is no reason not to write. */
  #pool(): Arena | null {
    if (this.#tried) return this.#arena;
    this.#tried = true;
    try {
      this.#arena = BufferPool.shared().arena(`staging of ${this.name}`, this.capacityBytes);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
    }
    return this.#arena;
  }
}

function isLong({ from }: Run): boolean {
  return from.length >= FEWEST_BUFFERS;
}
