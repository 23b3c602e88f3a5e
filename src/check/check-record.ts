/**
 * Checks the dirty-stripe record: its copies, whether the newest is there, and whether it still counts. What it names
 * is the array's business (check-array.ts).
 */
import type { RaidArray } from '../raid/array.js';
import {
  type FoundRecord,
  goodRecords,
  isDamagedRecord,
  type RecordContent,
  writingForbidden,
} from '../raid/record/index.js';
import { type CheckContext, isDirty, isWhole } from './context.js';
import { type Finding, finding } from './findings.js';

export async function* checkRecord(context: CheckContext): AsyncGenerator<Finding> {
  const { array, recordTrouble } = context;
  if (recordTrouble !== null) {
    const { kind, image, offsetBytes, reason, hint } = recordTrouble;
    const code = kind === 'absent' ? 'RECORD_FILE_ABSENT' : 'RECORD_FILE_UNUSABLE';
    yield finding(code, { image, ...(offsetBytes === undefined ? {} : { offsetBytes }) }, reason, { hint });
  }
  if (array === null) return;
  const { kind, absence, chosen } = array.record;
  const forbidden = writingForbidden(array.name, chosen);
  if (forbidden !== null) {
    const { message, hint = '' } = forbidden;
    yield finding('SET_READ_ONLY', {}, message, { hint, reason: 'RECORD_FEATURE' });
  }
  if (kind === 'none') {
    yield finding('RECORD_ABSENT', {}, `there is no dirty-stripe record: ${absence}`, {
      hint: 'after a crash all of it is resynced; --record FILE keeps a record elsewhere',
    });
    return;
  }
  yield* checkVerdict(context, array);
  yield* checkSlots(array.record.found);
  yield* checkCopies(context, array.record.found);
}

/** An array that is clean without a record needs none; in one that is dirty all of it is suspect then. */
function* checkVerdict(context: CheckContext, { record: { chosen } }: RaidArray): Generator<Finding> {
  const hint = isDirty(context)
    ? 'without it all parity counts as suspect: holdfast recover makes it right'
    : 'the array is clean, so nothing hangs on it; the next command that writes makes a new one';
  if (chosen.verdict === 'lost') {
    yield finding('RECORD_LOST', {}, chosen.reason, {
      hint,
      repair: isWhole(context) ? 'write-metadata' : null,
    });
  }
  if (chosen.verdict === 'void') yield finding('RECORD_VOID', {}, chosen.reason, { hint });
}

function* checkSlots(found: readonly FoundRecord[]): Generator<Finding> {
  for (const { place, slot, record } of found) {
    if (record === null || !isDamagedRecord(record)) continue;
    const where = { image: place.device.name, offsetBytes: place.offset + slot * place.slotBytes };
    yield finding('RECORD_DAMAGED', where, record.reason, {
      hint: 'a cut tears what was being written, which nothing hangs on; a later record takes its place',
    });
  }
}

/** Of the newest generation, which two members have. */
function* checkCopies(context: CheckContext, found: readonly FoundRecord[]): Generator<Finding> {
  const good = goodRecords(found);
  const newest = good.reduce((max, { record }) => (record.generation > max ? record.generation : max), 0n);
  const [first, ...copies] = good.filter(({ record }) => record.generation === newest);
  for (const { place, slot, record } of copies) {
    if (textOf(record) === textOf(first!.record)) continue;
    const where = { image: place.device.name, offsetBytes: place.offset + slot * place.slotBytes };
    yield finding(
      'RECORD_COPIES_DIFFER',
      where,
      `generation ${newest} says otherwise than on ${first!.place.device.name}: what either of them names counts`,
      {
        hint: 'the next command that writes makes a new one',
        repair: isWhole(context) ? 'write-metadata' : null,
      },
    );
  }
}

function textOf(record: RecordContent): string {
  return JSON.stringify(record, (_, value) => (typeof value === 'bigint' ? String(value) : value));
}
