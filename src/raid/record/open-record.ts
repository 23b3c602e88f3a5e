/**
 * The record of an array that is being opened: where it lies, what was found there, what of it counts, and, for who
 * writes, the intent that keeps it from then on.
 */
import type { BlockDevice } from '../../device/contract.js';
import { type Range, RangeSet } from '../../device/range-set.js';
import { UserError } from '../../errors.js';
import type { ArrayCore } from '../core.js';
import { describeForgotten, forgottenDoubt } from '../doubt.js';
import { setUuidBytes } from '../md/uuid.js';
import type { ArrayMember } from '../member.js';
import { describeBits } from './codec.js';
import { type ChosenRecord, chooseRecord, type FoundRecord, readPlace, type Serving } from './find.js';
import { filePlaces, memberPlace } from './places.js';
import { onMember, RecordIntent } from './record-intent.js';
import { COPIES, type WriterPlace } from './record-writer.js';

/** What an array's record is, for who opens the array and for people. */
export interface ArrayRecord {
  readonly kind: 'members' | 'file' | 'none';
  /** Why there is none; '' where there is one. */
  readonly absence: string;
  readonly places: readonly WriterPlace[];
  readonly found: readonly FoundRecord[];
  readonly chosen: ChosenRecord;
}

const NOTHING_CHOSEN: ChosenRecord = {
  record: null,
  overtaken: null,
  verdict: 'none',
  reason: '',
  highest: 0n,
  unknownRoCompat: 0,
};

/**
 * `file`: the record is kept there, and not on the members. Throws NOT_ASSEMBLED for one of a later version, and, for
 * who writes, for one with features that forbid that to who does not know them. Who reads is warned of these.
 */
export async function openRecord(core: ArrayCore, file: BlockDevice | null): Promise<ArrayRecord> {
  const seated = core.slots.flatMap(({ index, member, replacement }) =>
    [member, replacement].flatMap((each) => (each === null ? [] : [{ slot: index, member: each }])),
  );
  const members = seated.map(({ member }) => member);
  const serving: Serving[] = seated.map(({ slot, member: { image, superblock } }) => ({
    slot,
    image,
    superblock,
  }));
  const first = serving[0];
  if (first === undefined) return noRecord('no member is there');
  const onMembers = await placesOn(members, core);
  const placed = file === null ? onMembers : placesIn(file, first);
  if ('absence' in placed) return noRecord(placed.absence);
  const uuid = setUuidBytes(first.superblock);
  // Until a while ago it may have been kept on the members: the newest that counts does, wherever it lies.
  const before = file === null || 'absence' in onMembers ? [] : onMembers.places;
  const all = [...placed.places, ...before];
  const found = (await Promise.all(all.map((place) => readPlace(place, uuid)))).flat();
  const chosen = chooseRecord(found, serving);
  if (chosen.verdict === 'later') throw fromLater(core, chosen);
  const forbidden = writingForbidden(core.name, chosen);
  if (forbidden !== null && !core.readOnly) throw forbidden;
  if (forbidden !== null) core.warn(forbidden.message);
  const forgotten = forgottenDoubt(core, chosen.overtaken);
  if (forgotten.length > 0) core.warn(`${core.name}: ${describeForgotten(forgotten)}`);
  return { kind: file === null ? 'members' : 'file', absence: '', places: placed.places, found, chosen };
}

export function noRecord(absence: string): ArrayRecord {
  return { kind: 'none', absence, places: [], found: [], chosen: NOTHING_CHOSEN };
}

/** null: there is no place for one. */
export function recordIntent(core: ArrayCore, record: ArrayRecord): RecordIntent | null {
  return record.kind === 'none' || core.readOnly ? null : new RecordIntent({ core, ...record });
}

/** Rows, in data, that a record names: their parity may be wrong, or is known to be of no use. */
export function namedRows(core: ArrayCore, { record }: ChosenRecord): Range[] {
  const { chunkBytes, memberSizeBytes } = core.geometry;
  const rows = new RangeSet(record?.inDoubt ?? []);
  for (const { start, end } of record?.dirty ?? []) rows.add(start * chunkBytes, end * chunkBytes);
  return rows.within(0, memberSizeBytes);
}

/** All members have room, or there is no record: a member without would be none that a copy can be lost from. */
async function placesOn(
  members: readonly ArrayMember[],
  core: ArrayCore,
): Promise<{ places: WriterPlace[] } | { absence: string }> {
  const places: WriterPlace[] = [];
  for (const member of members) {
    const place = await memberPlace(member.device, member.superblock);
    if ('reason' in place) return { absence: `${member.image}: ${place.reason}` };
    places.push(onMember(core, member, place));
  }
  return { places };
}

function placesIn(file: BlockDevice, { superblock }: Serving): { places: WriterPlace[] } {
  const places = filePlaces(file, superblock, COPIES).map((place) => ({
    ...place,
    isUsable: () => true,
    failed: (error: unknown) => {
      throw error;
    },
  }));
  return { places };
}

/** Why the array is not to be written; null: it may be, by its record. */
export function writingForbidden(name: string, { unknownRoCompat }: ChosenRecord): UserError | null {
  if (unknownRoCompat === 0) return null;
  const bits = describeBits(unknownRoCompat);
  return new UserError(
    'NOT_ASSEMBLED',
    `${name}: its dirty-stripe record has features that are not known here, ro_compat ${bits}: the volume can be read, and is not written`,
    {
      hint: 'write to it with the version of holdfast that knows them; reading needs nothing of it',
      details: { reason: 'RECORD_FEATURE', forbids: 'write', roCompat: unknownRoCompat },
    },
  );
}

function fromLater(core: ArrayCore, { reason }: ChosenRecord): UserError {
  return new UserError('NOT_ASSEMBLED', `${core.name}: its dirty-stripe record cannot be used: ${reason}`, {
    hint: 'use that version of holdfast: what the record says of dirty stripes cannot be told here',
  });
}
