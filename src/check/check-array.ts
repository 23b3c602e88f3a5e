/** Checks what the array as a whole says of itself, and on request its parity. */
import type { RaidArray } from '../raid/array.js';
import { bytesKnownInDoubt, forgottenDoubt } from '../raid/doubt.js';
import { countStripes } from '../raid/geometry.js';
import { arrayState } from '../raid/md/judge.js';
import { ROW_BYTES } from '../raid/md/model.js';
import { unreadableSectors } from './check-images.js';
import { type CheckContext, isDirty, mayWrite } from './context.js';
import { type Finding, finding } from './findings.js';

export async function* checkClosed(context: CheckContext): AsyncGenerator<Finding> {
  const { judgement, array } = context;
  if (judgement === null) return;
  const state = arrayState(judgement, isDirty(context));
  if (state === 'dirty') {
    yield finding('ARRAY_DIRTY', {}, `it was not closed: parity may be wrong${extentOf(array)}`, {
      hint: 'holdfast recover makes it right; so does the next command that writes',
      repair: mayWrite(context) ? 'recover' : null,
    });
  }
  if (state === 'dirty-degraded') {
    const slots = judgement.slots.flatMap(({ state: own }, slot) => (own === 'in-sync' ? [] : [slot]));
    yield finding(
      'ARRAY_DIRTY_DEGRADED',
      slots.length === 1 ? { slot: slots[0]! } : {},
      `it was not closed and lacks a whole member in slot ${slots.join(', ')}: what that held${extentOf(array)} is in doubt`,
      {
        hint: 'bring the missing member back if it can be; else --force starts it with what there is',
        repair: mayWrite(context) ? 'start-degraded' : null,
      },
    );
  }
  yield* checkDoubt(context);
  yield* checkForgotten(context);
}

function extentOf(array: RaidArray | null): string {
  if (array === null) return '';
  const { suspect, geometry } = array.core;
  const stripes = countStripes(geometry, suspect.list());
  return ` in ${stripes} stripes (${suspect.totalBytes} bytes of each member)`;
}

/** Bytes of the volume: what a record names, and what bad blocks leave nobody to tell. */
function* checkDoubt({ array }: CheckContext): Generator<Finding> {
  if (array === null) return;
  for (const { start, end } of bytesKnownInDoubt(array.core)) {
    yield finding(
      'DATA_IN_DOUBT',
      { offsetBytes: start, lengthBytes: end - start },
      `${end - start} bytes of the volume are in doubt: the member that held them is gone, and a write of their stripe was cut short; or a rebuild could not make them`,
      {
        hint: 'bring that member back if it can be; else write them anew (from a backup): until then reads of them fail',
      },
    );
  }
}

/** It is there to be told until a new record is written, and then it is no better for that. */
function* checkForgotten({ array }: CheckContext): Generator<Finding> {
  if (array === null) return;
  for (const { start, end } of forgottenDoubt(array.core, array.record.chosen.overtaken)) {
    yield finding(
      'DOUBT_FORGOTTEN',
      { offsetBytes: start, lengthBytes: end - start },
      `${end - start} bytes of the volume were in doubt by a record that counts no more: what they hold nobody can tell`,
      {
        hint: 'compare them with a backup, and write them anew where they differ: the next record does not name them any more',
      },
    );
  }
}

/** Rows that are known to be suspect are left out: they are what makes the array dirty. */
export async function* checkParity(context: CheckContext): AsyncGenerator<Finding> {
  const { array, scrub } = context;
  if (array === null || scrub === null || array.core.isDegraded) return;
  const { geometry, suspect } = array.core;
  const { mismatchedRows } = await array.scrub({ ...scrub, repair: false });
  yield* unreadableSectors(array);
  const rows = mismatchedRows.filter((row) => !suspect.overlaps(row * ROW_BYTES, (row + 1) * ROW_BYTES));
  const perStripe = new Map<number, number>();
  for (const row of rows) {
    const stripe = Math.floor((row * ROW_BYTES) / geometry.chunkBytes);
    perStripe.set(stripe, (perStripe.get(stripe) ?? 0) + 1);
  }
  const repair = mayWrite(context) ? 'make-parity' : null;
  for (const { first, count, rowCount } of runsOf(perStripe)) {
    const where = {
      stripe: first,
      stripes: count,
      offsetBytes: first * geometry.stripeDataBytes,
      lengthBytes: count * geometry.stripeDataBytes,
    };
    yield finding('PARITY_MISMATCH', where, `parity and data disagree in ${rowCount} rows of 4 KiB`, {
      hint: 'compare the data with a backup first: which of the members is wrong cannot be told from parity',
      repair,
    });
  }
}

/** Stripes that follow one another are one finding. */
function runsOf(
  perStripe: ReadonlyMap<number, number>,
): { first: number; count: number; rowCount: number }[] {
  const runs: { first: number; count: number; rowCount: number }[] = [];
  for (const [stripe, rows] of perStripe) {
    const last = runs.at(-1);
    if (last !== undefined && last.first + last.count === stripe) {
      last.count++;
      last.rowCount += rows;
    } else runs.push({ first: stripe, count: 1, rowCount: rows });
  }
  return runs;
}
