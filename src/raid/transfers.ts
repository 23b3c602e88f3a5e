/**
 * Reads and writes of members, gathered: what lies together on one member goes in one call, and all members
 * work at the same time. Failures are returned, not thrown, because a member's failure is no failure of the
 * array: the caller decides.
 */
import type { WriteOptions } from '../device/contract.js';
import type { ArrayMember, Slot } from './member.js';

export interface Transfer {
  readonly member: ArrayMember;
  /** In data. */
  readonly start: number;
  readonly bytes: Uint8Array;
}

export interface TransferFailure {
  readonly member: ArrayMember;
  readonly start: number;
  readonly length: number;
  readonly error: unknown;
}

interface Run {
  readonly member: ArrayMember;
  readonly start: number;
  end: number;
  readonly buffers: Uint8Array[];
}

/** Linux takes 1024 buffers a call; a run is cut well below, so that one call does not hold up the others. */
const MAX_RUN_BUFFERS = 512;
const MAX_RUN_BYTES = 8 * 1024 * 1024;

/** The same bytes to everyone in the slot who has to be written. */
export function toSlot(slot: Slot, start: number, bytes: Uint8Array): Transfer[] {
  return slot.writers().map((member) => ({ member, start, bytes }));
}

export function readTransfers(transfers: readonly Transfer[]): Promise<TransferFailure[]> {
  return settle(transfers, {
    now: ({ member, start, buffers }) => buffers.length === 1 && member.readNow(start, buffers[0]!),
    perform: ({ member, start, buffers }) => member.read(start, buffers),
  });
}

export function writeTransfers(
  transfers: readonly Transfer[],
  options: WriteOptions,
): Promise<TransferFailure[]> {
  return settle(transfers, {
    now: ({ member, start, end, buffers }) =>
      options.fua !== true && member.writeNow(start, buffers, end - start),
    perform: ({ member, start, buffers }) => member.write(start, buffers, options),
  });
}

/** What is done with a run: at once where it can be, which small ones mostly can. */
interface Way {
  readonly now: (run: Run) => boolean;
  readonly perform: (run: Run) => Promise<void>;
}

async function settle(transfers: readonly Transfer[], way: Way): Promise<TransferFailure[]> {
  const [only] = transfers;
  if (only !== undefined && transfers.length === 1) return settleOne(only, way);
  const runs = gather(transfers).filter((run) => !way.now(run));
  if (runs.length === 0) return [];
  const outcomes = await Promise.allSettled(runs.map(way.perform));
  return outcomes.flatMap((outcome, index) => {
    if (outcome.status === 'fulfilled') return [];
    const run = runs[index]!;
    return [
      { member: run.member, start: run.start, length: run.end - run.start, error: outcome.reason as unknown },
    ];
  });
}

/** Most reads are one transfer: nothing is gathered for them. */
async function settleOne(
  { member, start, bytes }: Transfer,
  { now, perform }: Way,
): Promise<TransferFailure[]> {
  const run = { member, start, end: start + bytes.length, buffers: [bytes] };
  try {
    if (!now(run)) await perform(run);
    return [];
  } catch (error) {
    return [{ member, start, length: bytes.length, error }];
  }
}

function gather(transfers: readonly Transfer[]): Run[] {
  const byMember = new Map<ArrayMember, Transfer[]>();
  for (const transfer of transfers) {
    const list = byMember.get(transfer.member);
    if (list === undefined) byMember.set(transfer.member, [transfer]);
    else list.push(transfer);
  }
  const runs: Run[] = [];
  for (const list of byMember.values()) {
    list.sort((a, b) => a.start - b.start);
    let run: Run | null = null;
    for (const { member, start, bytes } of list) {
      if (run !== null && run.end === start && fits(run, bytes)) {
        run.buffers.push(bytes);
        run.end += bytes.length;
      } else {
        run = { member, start, end: start + bytes.length, buffers: [bytes] };
        runs.push(run);
      }
    }
  }
  return runs;
}

function fits(run: Run, bytes: Uint8Array): boolean {
  return run.buffers.length < MAX_RUN_BUFFERS && run.end - run.start + bytes.length <= MAX_RUN_BYTES;
}
