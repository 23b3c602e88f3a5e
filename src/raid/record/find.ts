/**
 * Which of the records that lie on the members counts, if any does.
 *
 * - The newest good one counts (Corrado, paragraph 31). What is in flight when the power goes is not missed: no
 *   write had begun that only it names.
 * - A record that was cut short says which generation was durable when it was written. If that one is not found,
 *   the newest was lost, and an older one would omit dirty stripes: none counts.
 * - It counts for the superblocks that it knows alone. Whoever wrote one of them since (the kernel, mdadm, a member
 *   put back from a copy) may have written data too, and cleared or made parity: then the record is void.
 * - Superblocks that say clean are written when all that was written is flushed, and say active before anything is
 *   written: of a record that lists stripes beside them no write had begun. What it has in doubt stays in doubt.
 * - A feature that is not known here and that forbids writing does so as the newest has it, whether it counts or not: a
 *   record that is void may still have others that hang on it.
 * - Two good records of one generation were written by two openings, of which the first was cut: both are believed.
 */
import { createHash } from 'node:crypto';
import type { BlockDevice } from '../../device/contract.js';
import { RangeSet } from '../../device/range-set.js';
import { UserError } from '../../errors.js';
import { UncheckedBytes } from '../../structure.js';
import type { Superblock } from '../md/model.js';
import {
  type DamagedRecord,
  decodeRecord,
  HEADER_BYTES,
  isDamagedRecord,
  type RecordContent,
} from './codec.js';
import { RECORD_HEADER } from './fields.js';
import { type RecordPlace, SLOTS } from './places.js';

const FIRST_READ_BYTES = 4096;

/** What lies in one slot of one place. */
export interface FoundRecord {
  readonly place: RecordPlace;
  readonly slot: number;
  /** null: nothing is there. */
  readonly record: RecordContent | DamagedRecord | null;
}

export interface GoodRecord extends FoundRecord {
  readonly record: RecordContent;
}

/** A member that serves in a slot, as its superblock is on disk. */
export interface Serving {
  readonly slot: number;
  readonly image: string;
  readonly superblock: Superblock;
}

export interface ChosenRecord {
  readonly record: RecordContent | null;
  /** The newest good one, where it does not count: void, or not the newest that was. */
  readonly overtaken: RecordContent | null;
  /** Why there is none, or `valid`. */
  readonly verdict: 'valid' | 'none' | 'void' | 'lost' | 'later';
  /** For people; '' where it is valid or there was none. */
  readonly reason: string;
  /** The highest generation that was seen, good or not. */
  readonly highest: bigint;
  /** Bits of ro_compat of the newest that are not known here: the array can be read, and is not to be written. */
  readonly unknownRoCompat: number;
}

/** Reads the slots of a place. What cannot be read is as damaged as what rotted. */
export async function readPlace(place: RecordPlace, setUuid: Uint8Array): Promise<FoundRecord[]> {
  const found: FoundRecord[] = [];
  for (let slot = 0; slot < SLOTS; slot++) {
    const offset = place.offset + slot * place.slotBytes;
    const record = await readSlot(place.device, offset, place.slotBytes, setUuid).catch(
      (error: unknown): DamagedRecord => {
        if (!(error instanceof UserError)) throw error;
        return { reason: `it cannot be read: ${error.message}`, header: null, isFromLater: false };
      },
    );
    found.push({ place, slot, record });
  }
  return found;
}

/** Most records are short: the rest of a slot is only read where there is more. */
async function readSlot(
  device: BlockDevice,
  offset: number,
  slotBytes: number,
  setUuid: Uint8Array,
): Promise<RecordContent | DamagedRecord | null> {
  const first = new Uint8Array(Math.min(FIRST_READ_BYTES, slotBytes));
  await device.read(offset, first);
  const claimed = first.length < HEADER_BYTES ? 0 : RECORD_HEADER.at(first).number('length');
  if (claimed <= first.length || claimed > slotBytes) {
    return decodeRecord(new UncheckedBytes(first, offset), setUuid);
  }
  const whole = new Uint8Array(slotBytes);
  whole.set(first);
  await device.read(offset + first.length, whole.subarray(first.length));
  return decodeRecord(new UncheckedBytes(whole, offset), setUuid);
}

export function goodRecords(found: readonly FoundRecord[]): GoodRecord[] {
  return found.filter((each): each is GoodRecord => each.record !== null && !isDamagedRecord(each.record));
}

export function chooseRecord(found: readonly FoundRecord[], serving: readonly Serving[]): ChosenRecord {
  const good = goodRecords(found).map(({ record }) => record);
  const bad = found.flatMap(({ record }) => (record !== null && isDamagedRecord(record) ? [record] : []));
  const highest = [...good, ...bad.flatMap(({ header }) => header ?? [])].reduce(
    (max, { generation }) => (generation > max ? generation : max),
    0n,
  );
  const newest = good.reduce<RecordContent | null>(
    (best, record) => (best === null || record.generation > best.generation ? record : best),
    null,
  );
  const unknownRoCompat = [...good, ...bad.flatMap(({ header }) => header ?? [])]
    .filter(({ generation }) => generation >= (newest?.generation ?? 0n))
    .reduce((bits, record) => (bits | (record.unknownRoCompat ?? 0)) >>> 0, 0);
  const none = (verdict: ChosenRecord['verdict'], reason: string): ChosenRecord => ({
    record: null,
    overtaken: newest,
    verdict,
    reason,
    highest,
    unknownRoCompat,
  });
  const later = bad.find((each) => each.isFromLater && each.header!.generation >= (newest?.generation ?? 0n));
  if (later !== undefined) return none('later', `a later version of holdfast wrote it: ${later.reason}`);
  const lost = bad.find(({ header }) => header !== null && header.follows > (newest?.generation ?? 0n));
  if (lost !== undefined) {
    return none(
      'lost',
      `generation ${lost.header!.follows} is not to be found whole, and no older one may count`,
    );
  }
  if (newest === null) return none('none', bad.length === 0 ? '' : bad[0]!.reason);
  const stranger = serving.find((member) => !knowsSuperblock(newest, member));
  if (stranger !== undefined) {
    return none('void', `the superblock of ${stranger.image} was written by somebody else since`);
  }
  const same = good.filter(
    (record) =>
      record.generation === newest.generation && serving.every((member) => knowsSuperblock(record, member)),
  );
  const record = { ...same.reduce(both), ...(saysClean(serving) ? { dirty: [] } : {}) };
  return { record, overtaken: null, verdict: 'valid', reason: '', highest, unknownRoCompat };
}

/** Whether the record was written for a member of that slot with that superblock. */
export function knowsSuperblock(
  { superblocks }: RecordContent,
  { slot, superblock }: Pick<Serving, 'slot' | 'superblock'>,
): boolean {
  const hash = superblockHash(superblock.raw);
  return superblocks.some((each) => each.slot === slot && each.hash === hash);
}

/** What the freshest of them says: an update that a cut came amid had begun. */
function saysClean(serving: readonly Serving[]): boolean {
  const superblocks = serving.map(({ superblock }) => superblock);
  const events = superblocks.reduce((max, each) => (each.events > max ? each.events : max), 0n);
  return superblocks.every((each) => each.events < events || each.resyncOffset === null);
}

function both(a: RecordContent, b: RecordContent): RecordContent {
  return {
    ...a,
    isClean: a.isClean && b.isClean,
    dirty: joined(a.dirty, b.dirty),
    inDoubt: joined(a.inDoubt, b.inDoubt),
  };
}

function joined(a: RecordContent['dirty'], b: RecordContent['dirty']): RecordContent['dirty'] {
  return new RangeSet([...a, ...b]).list();
}

/** Every record names the superblocks of all members, and they seldom change: what `raw` holds never does. */
const hashes = new WeakMap<Uint8Array, bigint>();

/** The first 8 bytes of the SHA-256 of a superblock as it is on disk. */
export function superblockHash(raw: Uint8Array): bigint {
  const known = hashes.get(raw);
  if (known !== undefined) return known;
  const hash = createHash('sha256').update(raw).digest().readBigUInt64LE();
  hashes.set(raw, hash);
  return hash;
}
