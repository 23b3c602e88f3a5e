/**
 * The dirty-stripe record of an open array: the journal in memory, and its generations on the members or in a file.
 *
 * Order (each step durable before the next):
 *   start     a record that knows the superblocks as they are and as they will be; superblocks active; data
 *   write     a record that lists the stripes; their data and parity
 *   flush     data and parity on all members; only then may stripes leave the record, and they leave lazily
 *   stop      all members flushed; the clean record; superblocks clean
 * Whatever else writes superblocks does it behind a record that knows both what they were and what they become: a
 * record whose superblocks are not those on disk is void.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Range, RangeSet } from '../../device/range-set.js';
import type { ArrayCore } from '../core.js';
import type { Superblock } from '../md/model.js';
import { setUuidBytes } from '../md/uuid.js';
import type { ArrayMember } from '../member.js';
import type { MetadataFollower, SuperblockUpdate } from '../metadata-follower.js';
import type { IntentTicket, WriteIntent } from '../write-intent.js';
import type { SuperblockHash } from './codec.js';
import { type ChosenRecord, type FoundRecord, goodRecords, superblockHash } from './find.js';
import { addUseful, fewer } from './fitting.js';
import { memberPlace, type RecordPlace } from './places.js';
import { COPIES, type NextRecord, RecordWriter, type WriterPlace } from './record-writer.js';
import { StripeJournal, type Ticket } from './stripe-journal.js';

const MIB = 1024 * 1024;
const AHEAD_BYTES = 64 * MIB;
const RECENT_BYTES = 64 * MIB;
const RECENT_RANGES = 96;
const EXPECTED_BYTES = 64 * MIB;
const EXPECTED_RANGES = 64;
/** Superblocks of a member that were tried to be written, and may be on disk. */
const MAX_ATTEMPTS = 4;
/** A turn is some hundredths of a millisecond: together less than most disks take for the record. */
const GATHER_TURNS = 16;
/** More than this written and not flushed: a flush is asked for, so that a crash does not cost a long resync. */
const UNFLUSHED_BYTES = 1024 * MIB;

export interface RecordIntentOptions {
  readonly core: ArrayCore;
  readonly kind: 'members' | 'file' | 'none';
  /** Grows when a member joins. */
  readonly places: readonly WriterPlace[];
  readonly found: readonly FoundRecord[];
  readonly chosen: ChosenRecord;
}

export class RecordIntent implements WriteIntent, MetadataFollower {
  private readonly core: ArrayCore;
  private readonly journal: StripeJournal;
  private readonly writer: RecordWriter;
  /** Superblocks that were to be written and may be on disk or not, of members that did not say that they are. */
  private readonly attempted = new Map<ArrayMember, Superblock[]>();
  /** Who was in a slot when superblocks were written the last time, and who in that time and the one before. */
  private latest: Map<ArrayMember, number>;
  private served: Map<ArrayMember, number>;
  /** What the superblocks that are being written will say: nothing is being written, all of it is flushed. */
  private isStopping = false;
  /** A record serves a write at once: the superblocks need not say active first. */
  private isActive = false;
  private flush: () => Promise<void> = () => Promise.resolve();
  private relief: Promise<void> | null = null;

  constructor(private readonly options: RecordIntentOptions) {
    const { core, places, found, chosen } = options;
    this.core = core;
    this.latest = this.serving();
    this.served = this.latest;
    const { geometry } = core;
    const stripesOf = (bytes: number) => Math.max(1, Math.floor(bytes / geometry.stripeDataBytes));
    this.journal = new StripeJournal({
      stripes: geometry.stripes,
      recent: { ranges: RECENT_RANGES, units: stripesOf(RECENT_BYTES) },
      expected: { ranges: EXPECTED_RANGES, units: stripesOf(EXPECTED_BYTES) },
      aheadStripes: stripesOf(AHEAD_BYTES),
    });
    this.writer = new RecordWriter({
      setUuid: setUuidBytes(anyMember(core).superblock),
      places,
      found,
      highest: chosen.highest,
      durable: chosen.record?.dirty ?? [],
      follows: durableGeneration(found, chosen),
      gather: () => (this.journal.isShared ? this.gather() : null),
      compose: (maxEntries) => this.compose(maxEntries),
      assertUsable: () => core.assertUsable(),
    });
  }

  /** Records that were made durable since the array was opened. */
  get generations(): number {
    return this.writer.generations;
  }

  attach(flush: () => Promise<void>): void {
    this.flush = flush;
  }

  begin(rows: readonly Range[]): IntentTicket {
    const ticket = this.journal.begin(this.stripesOf(rows));
    // Others may begin in this very moment, and are to share the record.
    if (this.isActive && this.journal.isAlone) queueMicrotask(() => this.listEarly(ticket));
    return ticket;
  }

  async durable(ticket: IntentTicket): Promise<void> {
    const { stripes } = ticket as Ticket;
    if (!this.writer.isListed(stripes)) return this.writer.list(stripes);
    if (this.lacksAhead()) this.writeAhead();
  }

  /** They are written soon, by who writes them. Nothing is written for them but while others are: see `durable`. */
  expect(stripes: Range): void {
    this.journal.expected.expect(stripes);
  }

  assertAllowed(): void {}

  end(ticket: IntentTicket, isDurable = false): void {
    this.journal.end(ticket as Ticket, isDurable);
    const limit = UNFLUSHED_BYTES / this.core.geometry.stripeDataBytes;
    if (this.journal.unflushedStripes > limit) this.relieve();
  }

  flushing(): (isDurable: boolean) => void {
    return this.journal.flushing();
  }

  /** With a member missing each stripe on the list costs what that member held of it, should the power go now. */
  async shorten(): Promise<void> {
    if (!this.core.isDegraded) return;
    if (this.writer.listsOnly(this.listed())) return;
    await this.writer.write();
  }

  get keepsDoubt(): boolean {
    return true;
  }

  onActivate(): Promise<void> {
    this.isActive = true;
    return Promise.resolve();
  }

  /** It takes copies once it is whole; nothing that lies there counts, as its superblock is new. */
  async onJoin(member: ArrayMember): Promise<void> {
    if (this.options.kind !== 'members') return;
    const place = await memberPlace(member.device, member.superblock);
    if ('reason' in place) return;
    this.writer.addPlace(onMember(this.core, member, place));
  }

  onClean(): Promise<void> {
    this.isActive = false;
    this.journal.forgetClean();
    return Promise.resolve();
  }

  async beforeSuperblocks({ next, resyncOffset }: SuperblockUpdate): Promise<void> {
    const serving = this.serving();
    // Who has just left its slot is in one as long as these superblocks are not written.
    this.served = new Map([...this.latest, ...serving]);
    this.latest = serving;
    for (const member of this.attempted.keys()) if (!this.served.has(member)) this.attempted.delete(member);
    for (const [member, superblock] of next) if (this.served.has(member)) this.attempt(member, superblock);
    this.isStopping = resyncOffset === null;
    try {
      await this.writer.write();
    } finally {
      this.isStopping = false;
    }
  }

  /** Of many that failed the disk may have any; but a write in place that failed has mostly changed nothing. */
  private attempt(member: ArrayMember, superblock: Superblock): void {
    const before = this.attempted.get(member) ?? [];
    const kept = before.length < MAX_ATTEMPTS ? before : [before[0]!, ...before.slice(2 - MAX_ATTEMPTS)];
    this.attempted.set(member, [...kept, superblock]);
  }

  /**
   * A record that many are to share waits as long as each turn of the event loop brings another write: of writers whose
   * last writes end one after the other, the first would have one for itself. Who is alone waits for nobody.
   */
  private async gather(): Promise<void> {
    for (let turn = 0; turn < GATHER_TURNS; turn++) {
      const { begun } = this.journal;
      await nextTurn();
      if (this.journal.begun === begun) return;
    }
  }

  /** Synchronous: nothing begins while it is put together. */
  private compose(maxEntries: (superblocks: number) => number): NextRecord {
    const superblocks = this.superblockHashes();
    const room = maxEntries(superblocks.length);
    const dirty = this.listed();
    const isDegraded = this.core.isDegraded;
    const suspect = this.core.suspect.list();
    const isDoubt = this.hasAcceptedDoubt();
    const isClean = this.isStopping && dirty.isEmpty;
    const inDoubt = isDoubt ? fewer(suspect, Math.floor(room / 2)) : [];
    if (dirty.list().length > room - inDoubt.length) this.relieve();
    if (!isClean && !isDegraded) {
      addUseful(dirty, this.journal.useful(), room - inDoubt.length);
      this.journal.expected.considered();
    }
    return { isClean, superblocks, dirty: fewer(dirty.list(), room - inDoubt.length), inDoubt };
  }

  /** What has to be listed now. */
  private listed(): RangeSet {
    const dirty = this.journal.dirty();
    if (this.hasAcceptedDoubt()) return dirty;
    for (const { start, end } of this.stripesOf(this.core.suspect.list())) dirty.add(start, end);
    return dirty;
  }

  /** What is suspect is in doubt for good: no resync could make it right. */
  private hasAcceptedDoubt(): boolean {
    return this.core.isRecovered && this.core.isDegraded;
  }

  /**
   * Of the members in slots: what is on disk, and what may be there because it was being written. One that has just
   * left its slot, or has failed, serves as long as no superblock says otherwise.
   */
  private superblockHashes(): SuperblockHash[] {
    const hashes: SuperblockHash[] = [];
    for (const [member, slot] of [...this.served, ...this.serving()]) {
      const attempted = this.attempted.get(member) ?? [];
      const open = attempted.slice(attempted.lastIndexOf(member.superblock) + 1);
      this.attempted.set(member, open);
      for (const superblock of [member.superblock, ...open]) {
        const hash = superblockHash(superblock.raw);
        if (!hashes.some((each) => each.slot === slot && each.hash === hash)) hashes.push({ slot, hash });
      }
    }
    return hashes;
  }

  private serving(): Map<ArrayMember, number> {
    const members = new Map<ArrayMember, number>();
    for (const { index, member, replacement } of this.core.slots) {
      for (const each of [member, replacement]) if (each !== null) members.set(each, index);
    }
    return members;
  }

  private stripesOf(rows: readonly Range[]): Range[] {
    const { chunkBytes } = this.core.geometry;
    const stripes = new RangeSet();
    for (const { start, end } of rows) {
      stripes.add(Math.floor(start / chunkBytes), Math.ceil(end / chunkBytes));
    }
    return [...stripes.list()];
  }

  /** Who is alone has nobody to wait for: the record is written while it still reads what makes its parity. */
  private listEarly({ stripes }: Ticket): void {
    if (this.journal.isAlone && !this.writer.isListed(stripes)) this.writeAhead();
  }

  /**
   * A stream is listed, but not all that it will come to, or not all that is expected: that is written while others are
   * written. With a member missing it would not be in the record.
   */
  private lacksAhead(): boolean {
    if (this.core.isDegraded) return false;
    const { marks, expected } = this.journal;
    return !this.writer.isListed([...marks.provenAhead(), ...expected.unconsidered()]);
  }

  /** Nobody waits for it; who needs what it lists waits for it then, and hears of its failure. */
  private writeAhead(): void {
    this.writer.write().catch(() => undefined);
  }

  /** The list is long: a flush of the members, in the background, lets most of it go. */
  private relieve(): void {
    this.relief ??= this.flush()
      // Whoever flushes next is told: the member is faulty by then, or the array cannot be used.
      .catch(() => undefined)
      .finally(() => {
        this.relief = null;
      });
  }
}

/**
 * What a record that is cut short from now on says was there before it. Of one copy alone nobody can tell whether the
 * generation was ever durable: the power may have gone amid it, and then its member may be lost and no older one omits
 * anything. Of one that was lost none is found for good, and what is cut short must still say so.
 */
function durableGeneration(
  found: readonly FoundRecord[],
  { record, verdict, highest }: ChosenRecord,
): bigint {
  if (record === null) return verdict === 'lost' ? highest : 0n;
  const copies = goodRecords(found).filter((copy) => copy.record.generation === record.generation);
  return copies.length < COPIES ? record.follows : record.generation;
}

/** A place on a member: its failure is the member's. */
export function onMember(core: ArrayCore, member: ArrayMember, place: RecordPlace): WriterPlace {
  const isSeated = () => core.slots.some((slot) => slot.member === member || slot.replacement === member);
  return {
    ...place,
    isUsable: () => member.isInSync && isSeated(),
    failed: (error) => core.failUnlessFull(member, error),
  };
}

function anyMember(core: ArrayCore): ArrayMember {
  const [member] = core.slotMembers();
  if (member === undefined) throw new Error(`${core.name} has no member`);
  return member;
}
