/**
 * A walk over rows of all members, in ascending order, window by window under their locks, several groups of
 * windows at a time: what resync, rebuild and scrub have in common. It can be stopped between groups; what it
 * has done is made durable every now and then, and when it ends or is stopped.
 */
import { allEnded } from '../device/all-ended.js';
import type { PoolBuffer } from '../device/pool.js';
import type { Range } from '../device/range-set.js';
import { UserError } from '../errors.js';
import { type ArrayCore, GROUP_BUFFER_BYTES } from './core.js';
import type { Faults } from './faults.js';
import type { ArrayMember } from './member.js';
import { readTransfers, type Transfer } from './transfers.js';

/** Groups in flight: one reads while another computes and a third writes. */
const GROUPS_IN_FLIGHT = 3;
/** Rows of a group; each member's share of it is one long read. */
const MAX_GROUP_ROWS_BYTES = 1024 * 1024;
const CHECKPOINT_EVERY_BYTES = 256 * 1024 * 1024;

export interface SweepOptions {
  /** Stops the walk between groups: what was done is made durable, then INTERRUPTED is thrown. */
  readonly signal?: AbortSignal | undefined;
  /** Bytes of each member's data area. */
  readonly onProgress?: ((doneBytes: number, totalBytes: number) => void) | undefined;
  /** Makes durable what was done so far. */
  readonly checkpoint?: (() => Promise<void>) | undefined;
}

/** Visits every group of windows that has some of `ranges`; `visit` runs with the windows locked. */
export async function sweep(
  core: ArrayCore,
  ranges: readonly Range[],
  visit: (rows: Range) => Promise<void>,
  options: SweepOptions = {},
): Promise<void> {
  const totalBytes = ranges.reduce((sum, range) => sum + range.end - range.start, 0);
  const groups = groupsOf(core, ranges);
  let doneBytes = 0;
  let sinceCheckpoint = 0;
  const worker = async (): Promise<void> => {
    for (const rows of groups) {
      if (options.signal?.aborted === true) return;
      await visitLocked(core, rows, visit);
      doneBytes += rows.end - rows.start;
      sinceCheckpoint += rows.end - rows.start;
      options.onProgress?.(doneBytes, totalBytes);
      if (sinceCheckpoint < CHECKPOINT_EVERY_BYTES) continue;
      sinceCheckpoint = 0;
      await options.checkpoint?.();
    }
  };
  await allEnded(Array.from({ length: GROUPS_IN_FLIGHT }, worker));
  await options.checkpoint?.();
  if (options.signal?.aborted === true) {
    throw new UserError(
      'INTERRUPTED',
      `${core.name}: stopped after ${doneBytes} of ${totalBytes} bytes of each member`,
      {
        hint: 'what was done is kept; the same command goes on from there',
        details: { doneBytes, totalBytes },
      },
    );
  }
}

/** Reads rows of several members into one buffer each, in one piece of the pool. */
export async function withRows<T>(
  core: ArrayCore,
  faults: Faults,
  members: readonly ArrayMember[],
  rows: Range,
  use: (buffers: readonly Uint8Array[]) => Promise<T>,
): Promise<T | 'unreadable'> {
  const length = rows.end - rows.start;
  const memory: PoolBuffer = await core.arena.acquire(length * members.length);
  try {
    const transfers: Transfer[] = members.map((member, index) => ({
      member,
      start: rows.start,
      bytes: memory.bytes.subarray(index * length, (index + 1) * length),
    }));
    const failures = await readTransfers(transfers);
    if (failures.length > 0) {
      await faults.settleReads(failures);
      return 'unreadable';
    }
    return await use(transfers.map((transfer) => transfer.bytes));
  } finally {
    memory.release();
  }
}

/**
 * Visits rows in parts in each of which it is the same members that can be read. A part in which a read failed is
 * cut anew: the sectors that failed count as bad by then.
 */
export async function visitSpans(
  core: ArrayCore,
  rows: Range,
  visit: (span: Range) => Promise<unknown>,
): Promise<void> {
  for (const span of core.spans(rows.start, rows.end)) {
    if ((await visit(span)) === 'unreadable') await visitSpans(core, span, visit);
  }
}

async function visitLocked(
  core: ArrayCore,
  rows: Range,
  visit: (rows: Range) => Promise<void>,
): Promise<void> {
  const windows = core.windowsOf(rows.start, rows.end);
  await core.locks.acquire(windows, 'exclusive');
  try {
    await visit(rows);
  } finally {
    core.locks.release(windows);
  }
}

function* groupsOf(core: ArrayCore, ranges: readonly Range[]): Generator<Range> {
  const perRow = core.geometry.raidDisks;
  const windows = Math.floor(Math.min(MAX_GROUP_ROWS_BYTES, GROUP_BUFFER_BYTES / perRow) / core.windowBytes);
  const step = Math.max(1, windows) * core.windowBytes;
  for (const range of ranges) {
    for (let at = range.start; at < range.end; ) {
      const end = Math.min(range.end, (Math.floor(at / step) + 1) * step);
      yield { start: at, end };
      at = end;
    }
  }
}
