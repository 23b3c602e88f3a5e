/**
 * The kernel's internal write-intent bitmap, kept as the kernel keeps it: it trusts nothing else after a crash.
 *
 * - The bits of what is to be written are set and durable on every member before the first byte of it.
 *   Writers that come together share one write of the pages.
 * - Bits are cleared when the array stops clean with all members there. With one missing they stay: they are
 *   what the kernel rebuilds when that member is added again (md-bitmap.c, events_cleared).
 * - The bitmap's events are never behind the superblocks': else the kernel takes it for stale and resyncs all.
 * - The kernel believes one copy, that of any member in-sync: so a member whose copy may lack something (it came
 *   as a spare, it joins, its disk was full) gets all pages with the next write of any.
 */
import type { Range } from '../device/range-set.js';
import { UserError } from '../errors.js';
import type { ArrayCore } from './core.js';
import { type BitmapPage, pageOffset, WriteIntentBitmap } from './md/bitmap.js';
import { type BitmapCopy, readBitmapCopy } from './md/bitmap-copy.js';
import type { Superblock } from './md/model.js';
import type { ArrayMember } from './member.js';
import type { MetadataFollower, SuperblockUpdate } from './metadata-follower.js';
import type { IntentTicket, WriteIntent } from './write-intent.js';

export class BitmapIntent implements WriteIntent, MetadataFollower {
  /** The write of pages that runs, and the one that waits for it to end. */
  private running: Promise<void> | null = null;
  private waiting: Promise<void> | null = null;
  /** Bits were set that no write of pages has taken up yet. */
  private hasChanged = false;

  private constructor(
    private readonly core: ArrayCore,
    private readonly bitmap: WriteIntentBitmap,
    /** Members whose copy lacks nothing but what has changed since. */
    private holders: ReadonlySet<ArrayMember>,
  ) {}

  /** null: the array has no bitmap, or none that can be used and is only read: then every row is suspect. */
  static async open(core: ArrayCore, freshest: Superblock): Promise<BitmapIntent | null> {
    if (freshest.bitmapOffset === null) return null;
    const members = core.slotMembers().filter((member) => member.isInSync);
    const { copies, reasons } = await readCopies(members);
    if (copies.length === 0) {
      if (core.readOnly) return null;
      throw new UserError(
        'NOT_ASSEMBLED',
        `${core.name}: no member has a write-intent bitmap that can be used: ${reasons.join('; ')}`,
        {
          hint: 'it can be read; to write it, take the bitmap away with mdadm --grow --bitmap=none',
        },
      );
    }
    const { memberSizeBytes } = core.geometry;
    const bitmap = new WriteIntentBitmap(copies, { events: freshest.events, memberSizeBytes });
    const differ = copies.some((copy) => Buffer.compare(copy.raw, copies[0]!.raw) !== 0);
    const isSame = !differ && reasons.length === 0 && bitmap.distrusted === null;
    return new BitmapIntent(core, bitmap, new Set(isSame ? members : []));
  }

  /** What may be wrong after a crash, in data. */
  dirtyRows(): Range[] {
    return this.bitmap.dirtyRanges();
  }

  begin(rows: readonly Range[]): IntentTicket {
    this.set(rows);
    return rows;
  }

  async durable(ticket: IntentTicket): Promise<void> {
    // The array may have become clean in between, and all bits with it.
    this.set(ticket as readonly Range[]);
    if (this.hasChanged || this.isBehind()) await this.persist();
    // Set by others, but perhaps not durable yet.
    else await (this.waiting ?? this.running);
  }

  private set(rows: readonly Range[]): void {
    for (const { start, end } of rows) this.hasChanged = this.bitmap.setRange(start, end) || this.hasChanged;
  }

  assertAllowed(): void {}

  /** Bits stay until the array stops: one that is set too long is only work. */
  end(): void {}

  flushing(): () => void {
    return () => undefined;
  }

  shorten(): Promise<void> {
    return Promise.resolve();
  }

  onActivate(): Promise<void> {
    return Promise.resolve();
  }

  /** It gets all pages before the superblocks that name it: see `beforeSuperblocks`. */
  onJoin(): Promise<void> {
    return Promise.resolve();
  }

  async beforeSuperblocks({ events }: SuperblockUpdate): Promise<void> {
    const complete = !this.core.isDegraded;
    this.bitmap.setEvents(events, complete && this.bitmap.isClear ? events : this.bitmap.eventsCleared);
    await this.persist();
  }

  onClean(): Promise<void> {
    if (!this.core.isDegraded) this.bitmap.clearAll();
    return Promise.resolve();
  }

  /** Resolves when all that was changed by now is durable on every member. */
  private persist(): Promise<void> {
    if (this.waiting === null) {
      const run = (this.running ?? Promise.resolve()).catch(() => undefined).then(() => this.start());
      this.waiting = run;
    }
    return this.waiting;
  }

  private start(): Promise<void> {
    this.running = this.waiting;
    this.waiting = null;
    const run = this.writeChanged();
    const own = this.running;
    const done = () => {
      if (this.running === own) this.running = null;
    };
    run.then(done, done);
    return run;
  }

  private async writeChanged(): Promise<void> {
    if (this.isBehind()) this.bitmap.markAllChanged();
    this.hasChanged = false;
    const pages = this.bitmap.takeChangedPages();
    const members = this.members();
    const outcomes = await Promise.allSettled(members.map((member) => writePages(member, pages)));
    this.holders = new Set(members.filter((_, index) => outcomes[index]!.status === 'fulfilled'));
    outcomes.forEach((outcome, index) => {
      if (outcome.status === 'rejected') this.core.failUnlessFull(members[index]!, outcome.reason);
    });
  }

  private members(): ArrayMember[] {
    return this.core.liveMembers().filter((member) => member.superblock.bitmapOffset !== null);
  }

  /** Some member's copy lacks more than what has changed. */
  private isBehind(): boolean {
    return this.members().some((member) => !this.holders.has(member));
  }
}

/** The page with the events last: it says that the others are to be believed. */
async function writePages(member: ArrayMember, pages: readonly BitmapPage[]): Promise<void> {
  const write = ({ superblock, device }: ArrayMember, page: BitmapPage) =>
    device.write(pageOffset(superblock, page), page.bytes, { fua: true });
  await Promise.all(pages.filter((page) => page.offset > 0).map((page) => write(member, page)));
  for (const page of pages) if (page.offset === 0) await write(member, page);
}

async function readCopies(
  members: readonly ArrayMember[],
): Promise<{ copies: BitmapCopy[]; reasons: string[] }> {
  const copies: BitmapCopy[] = [];
  const reasons: string[] = [];
  for (const member of members) {
    const copy = await readBitmapCopy(member.device, member.superblock);
    if (copy === null) reasons.push(`${member.image} has none`);
    else if ('reason' in copy) reasons.push(`${member.image}: ${copy.reason}`);
    else copies.push(copy);
  }
  return { copies, reasons };
}
