/**
 * One member of an array while it is open: its image, what of it may be read, and where its data area lies.
 *
 * A member is read only where its content is known to be right: not at all once it is faulty, below what was
 * rebuilt while it is being rebuilt, and never in its bad blocks. It is written everywhere unless faulty: a
 * member that is being rebuilt has to take every write, as the rebuild may have passed there already.
 */
import type { BlockDevice, Buffers, PromptDevice, WriteOptions } from '../device/contract.js';
import { RangeSet } from '../device/range-set.js';
import { UserError } from '../errors.js';
import type { BadBlocks } from './md/bad-blocks.js';
import type { Superblock } from './md/model.js';

export class ArrayMember {
  /** What went wrong with it, once it is faulty. */
  private failure: unknown = null;
  /** What was rebuilt so far, in data; null: it is in-sync, all of it is valid. */
  private rebuilt: RangeSet | null;
  /** Sectors that could not be read since the array was opened, in data. */
  readonly unreadable = new RangeSet();

  /** What a rebuild has made and flushed, in data: what `recovery_offset` says. */
  private durablyRebuilt: number | null;
  private loggedBadBlocks: boolean;

  constructor(
    readonly device: BlockDevice | PromptDevice,
    /** As it is on disk now; metadata.ts keeps it so. */
    public superblock: Superblock,
    readonly badBlocks: BadBlocks,
  ) {
    const { recoveryOffset } = superblock;
    this.rebuilt = recoveryOffset === null ? null : new RangeSet([{ start: 0, end: recoveryOffset }]);
    this.durablyRebuilt = recoveryOffset;
    this.loggedBadBlocks = superblock.features.badBlocks;
  }

  get image(): string {
    return this.device.name;
  }

  get isFaulty(): boolean {
    return this.failure !== null;
  }

  get cause(): unknown {
    return this.failure;
  }

  get isInSync(): boolean {
    return this.failure === null && this.rebuilt === null;
  }

  get isRebuilding(): boolean {
    return this.failure === null && this.rebuilt !== null;
  }

  /** All below it was made, in data, though perhaps not flushed; null when in-sync. */
  get rebuiltUpTo(): number | null {
    if (this.rebuilt === null) return null;
    const first = this.rebuilt.list()[0];
    return first === undefined || first.start > 0 ? 0 : first.end;
  }

  get isReadableEverywhere(): boolean {
    return this.isInSync && this.badBlocks.isEmpty && this.unreadable.isEmpty;
  }

  readable(start: number, end: number): boolean {
    if (this.isReadableEverywhere) return true;
    if (this.failure !== null) return false;
    if (this.rebuilt !== null && !this.rebuilt.covers(start, end)) return false;
    return !this.badBlocks.overlaps(start, end) && !this.unreadable.overlaps(start, end);
  }

  /** Where, within [start, end), it changes whether the member can be read. */
  boundaries(start: number, end: number): number[] {
    const valid = this.rebuilt?.within(start, end) ?? [];
    const bad = [...this.badBlocks.list(), ...this.unreadable.within(start, end)];
    return [...valid, ...bad]
      .flatMap((range) => [range.start, range.end])
      .filter((at) => start < at && at < end);
  }

  markFaulty(cause: unknown): void {
    this.failure ??= cause ?? new Error('marked faulty');
  }

  /** A rebuild has made [start, end) right. */
  markRebuilt(start: number, end: number): void {
    this.rebuilt?.add(start, end);
  }

  /** All below `upTo` has been flushed since it was made. */
  recordRebuilt(upTo: number): void {
    if (this.durablyRebuilt !== null) this.durablyRebuilt = upTo;
  }

  /** For the superblock; null when in-sync. */
  get recoveryOffset(): number | null {
    return this.durablyRebuilt;
  }

  /** Nothing of it is valid yet. */
  beginRebuild(): void {
    this.rebuilt = new RangeSet();
    this.durablyRebuilt = 0;
  }

  /** All of it was made, and flushed. */
  markInSync(): void {
    this.rebuilt = null;
    this.durablyRebuilt = null;
  }

  /** Whether the log on disk has entries, for the superblock; memory may have more already, or fewer. */
  get hasLoggedBadBlocks(): boolean {
    return this.loggedBadBlocks;
  }

  /**
   * Makes the log on disk say what memory says now. Durable when it returns; a member without a log has nothing.
   * The flush comes first: what is no longer bad is so because it was written, and that may be volatile still.
   */
  async writeBadBlocks(): Promise<void> {
    const { badBlockLog } = this.superblock;
    if (badBlockLog === null || this.isFaulty) return;
    const log = this.badBlocks.encode();
    const hasEntries = !this.badBlocks.isEmpty;
    await this.device.flush();
    await this.device.write(badBlockLog.offset, log, { fua: true });
    this.loggedBadBlocks = hasEntries;
  }

  read(start: number, into: Buffers): Promise<void> {
    return this.device.read(this.superblock.dataOffset + start, into);
  }

  /** `read` and a volatile `write` as prompt calls (device/contract.ts); false where the device has none. */
  readNow(start: number, into: Uint8Array): boolean {
    const { device } = this;
    return 'readNow' in device && device.readNow(this.superblock.dataOffset + start, into);
  }

  writeNow(start: number, from: readonly Uint8Array[], length: number): boolean {
    const { device } = this;
    return 'writeNow' in device && device.writeNow(this.superblock.dataOffset + start, from, length);
  }

  write(start: number, from: Buffers, options?: WriteOptions): Promise<void> {
    return this.device.write(this.superblock.dataOffset + start, from, options);
  }

  writeZeroes(start: number, length: number): Promise<void> {
    return this.device.writeZeroes(this.superblock.dataOffset + start, length);
  }
}

/** A place in the array, and who fills it: nobody, a member, or a member and what is to replace it. */
export class Slot {
  /**
   * Who was replaced, while superblocks do not durably say so. Until then a cut would have it serve again, so it takes
   * all that is written.
   */
  leaving: ArrayMember | null = null;
  /** Who was replaced, or failed and was made good for, and was not removed: nothing is asked of them any more. */
  private former: ArrayMember[] = [];

  constructor(
    readonly index: number,
    public member: ArrayMember | null,
    public replacement: ArrayMember | null = null,
  ) {}

  /** Who can be read there: the member, else its replacement, else nobody. */
  reader(start: number, end: number): ArrayMember | null {
    if (this.member?.readable(start, end)) return this.member;
    if (this.replacement?.readable(start, end)) return this.replacement;
    return null;
  }

  /** Everyone who has to be written. */
  writers(): ArrayMember[] {
    return this.addWriters([]);
  }

  addWriters(to: ArrayMember[]): ArrayMember[] {
    if (this.member?.isFaulty === false) to.push(this.member);
    if (this.replacement?.isFaulty === false) to.push(this.replacement);
    if (this.leaving?.isFaulty === false) to.push(this.leaving);
    return to;
  }

  /** Puts a member in: to replace who serves here, or where nobody does in the place of who failed. */
  take(member: ArrayMember): void {
    const isFree = this.writers().length === 0;
    for (const each of isFree ? [this.member, this.replacement] : [this.replacement])
      if (each !== null) this.former.push(each);
    if (isFree) this.member = member;
    this.replacement = isFree ? null : member;
  }

  /** Who was leaving is durably out: nobody is to wait for it, or to hear of its failures. */
  retire(member: ArrayMember): void {
    this.leaving = null;
    member.markFaulty(new UserError('REFUSED', 'it was replaced'));
    this.former.push(member);
  }

  /** Everyone of this slot who is out of service. */
  out(): ArrayMember[] {
    const inPlace = [this.member, this.replacement].filter((member) => member?.isFaulty === true);
    return [...(inPlace as ArrayMember[]), ...this.former];
  }

  /** Takes one out that is out of service. Its replacement is the member then (raid5.c, raid5_remove_disk). */
  forget(member: ArrayMember): void {
    this.former = this.former.filter((each) => each !== member);
    if (this.replacement === member) this.replacement = null;
    if (this.member !== member) return;
    this.member = this.replacement;
    this.replacement = null;
  }

  /** Whether its content is all there without the help of others (but for bad blocks). */
  get isInSync(): boolean {
    return this.member?.isInSync === true || this.replacement?.isInSync === true;
  }
}
