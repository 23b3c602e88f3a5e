/**
 * Keeps md's metadata on all members: event counts, clean and active, roles, recovery offsets, bad blocks.
 * The kernel looks at nothing else, so it is kept as the kernel keeps it (Linux drivers/md/md.c,
 * md_update_sb and super_1_sync).
 *
 * Invariants
 * - Superblocks say what memory says: every update writes the whole state to every live member; nothing is
 *   patched. Updates go one after another.
 * - `events` only rises.
 * - Before the first write of an opening every superblock is durably active (resync_offset 0), with more
 *   events than before and this opening's stamp. After the last one every member is flushed, and only then a
 *   superblock says clean.
 * - A member that failed is out in all other superblocks, two events ahead of its own, before any write that
 *   went without it is answered. A member that cannot take its superblock has failed.
 * - A slot that nobody fills is taken out of the roles before the first write: else the member that is away
 *   would be one event behind, and count as current when it comes back.
 */
import { randomBytes } from 'node:crypto';
import type { ArrayCore } from './core.js';
import type { DeviceRole, Superblock } from './md/model.js';
import { changeSuperblock, superblockBytes } from './md/superblock.js';
import type { ArrayMember } from './member.js';
import { NO_INTENT, type WriteIntent } from './write-intent.js';

/** Something else on the members that has to follow the superblocks: the internal bitmap, PPL headers. */
export interface MetadataFollower {
  /** A member that joins gets what the others have of it. */
  onJoin(member: ArrayMember): Promise<void>;
  /** Before the first write of an opening, before the superblocks. */
  onActivate(): Promise<void>;
  /** Before superblocks with these events are written, so that it is never behind them. */
  beforeSuperblocks(events: bigint, members: readonly ArrayMember[]): Promise<void>;
  /** All members are flushed and the array stops clean: nothing is in doubt but `suspect`. */
  onClean(): Promise<void>;
}

export interface MetadataOptions {
  readonly core: ArrayCore;
  readonly freshest: Superblock;
  readonly followers?: readonly MetadataFollower[];
  readonly intent?: WriteIntent;
  /** Seconds since 1970, for utime. */
  readonly now?: () => number;
}

export class ArrayMetadata {
  readonly intent: WriteIntent;
  private readonly core: ArrayCore;
  private readonly followers: readonly MetadataFollower[];
  private readonly now: () => number;
  private currentEvents: bigint;
  private roles: DeviceRole[];
  private stamp: bigint | null = null;
  /** What superblocks say while nothing is written: rows below it are known to be right, and flushed. */
  private resyncOffset: number | null;
  private activation: Promise<void> | null = null;
  private tail: Promise<unknown> = Promise.resolve();
  private recordedFaulty = new Set<ArrayMember>();
  /** Members whose bad-block log on disk is not what memory says: written anew by the next flush. */
  private readonly changedLogs = new Set<ArrayMember>();

  constructor(options: MetadataOptions) {
    this.core = options.core;
    this.followers = options.followers ?? [];
    this.intent = options.intent ?? NO_INTENT;
    this.now = options.now ?? (() => Math.floor(Date.now() / 1000));
    this.currentEvents = options.freshest.events;
    this.roles = [...options.freshest.roles];
    this.resyncOffset = options.freshest.resyncOffset;
  }

  get events(): bigint {
    return this.currentEvents;
  }

  get isActive(): boolean {
    return this.activation !== null;
  }

  /** Makes the array active; all writers of an opening wait for the same update. */
  activate(): Promise<void> {
    this.activation ??= this.serial(() => this.doActivate()).catch((error: unknown) => {
      // Not active: whoever writes next tries anew.
      this.activation = null;
      throw error;
    });
    return this.activation;
  }

  private async doActivate(): Promise<void> {
    for (const follower of this.followers) await follower.onActivate();
    this.stamp = randomBytes(8).readBigUInt64LE();
    const excluded = this.excludeAbsent();
    await this.write(excluded ? 2 : 1, 0);
  }

  /**
   * The array stops: flushes all members, then makes the superblocks say what is left to do: nothing (clean),
   * or the lowest row whose parity is suspect. Does nothing if nothing was written.
   */
  async deactivate(): Promise<void> {
    if (this.activation === null) return;
    await this.activation;
    await this.flushMembers();
    await this.serial(async () => {
      await this.write(1, await this.settleResync(this.core.suspect.first));
      this.activation = null;
    });
  }

  /**
   * Makes all that members have taken durable. A member that cannot flush has lost writes that were
   * answered: it is faulty, durably, before the flush is answered.
   */
  async flushMembers(): Promise<void> {
    const members = this.core.slotMembers();
    const changedLogs = [...this.changedLogs];
    const outcomes = await Promise.allSettled(members.map((member) => member.device.flush()));
    outcomes.forEach((outcome, index) => {
      if (outcome.status === 'rejected') this.core.fail(members[index]!, outcome.reason);
    });
    await this.recordFaults();
    if (changedLogs.length > 0) await this.recordBadBlocks(changedLogs);
  }

  /** Takes the members that failed out of all other superblocks. Nothing to do: nothing is written. */
  async recordFaults(): Promise<void> {
    if (this.faultyMembers().every((member) => this.recordedFaulty.has(member))) return;
    this.core.assertUsable();
    await this.serial(async () => {
      if (this.faultyMembers().every((member) => this.recordedFaulty.has(member))) return;
      await this.write(2, this.currentResyncOffset());
    });
  }

  /** A change of who is in the array, made in memory by `change`, is made durable with two events. */
  changeMembers(change: (roles: DeviceRole[]) => void): Promise<void> {
    return this.serial(async () => {
      change(this.roles);
      await this.write(2, this.currentResyncOffset());
    });
  }

  /** Gives a member that joins what the others have beside their superblocks. */
  async prepareNewMember(member: ArrayMember): Promise<void> {
    for (const follower of this.followers) await follower.onJoin(member);
  }

  /** Numbers of members that are not there stay theirs as long as a role says so (md.c, bind_rdev_to_array). */
  freeDeviceNumber(): number {
    const taken = new Set(this.core.liveMembers().map((member) => member.superblock.deviceNumber));
    for (let number = this.core.geometry.raidDisks; ; number++) {
      if (!taken.has(number) && (this.roles[number] ?? 'spare') === 'spare') return number;
    }
  }

  /**
   * Makes durable how far rebuilds and resyncs have come. What they made is flushed first: a superblock that
   * is ahead of the data would have rows trusted that are not there.
   */
  async checkpoint(): Promise<void> {
    const rebuilding = this.core.slotMembers().filter((member) => member.isRebuilding);
    const rebuilt = rebuilding.map((member) => member.rebuiltUpTo!);
    const suspectFrom = this.core.suspect.first;
    await this.flushMembers();
    await this.serial(async () => {
      for (const [index, member] of rebuilding.entries()) member.recordRebuilt(rebuilt[index]!);
      const settled = await this.settleResync(suspectFrom);
      await this.write(1, this.activation === null ? settled : 0);
    });
  }

  /** Members are flushed: what is left to resync starts at `from`; null: nothing is. */
  private async settleResync(from: number | null): Promise<number | null> {
    if (from === null) for (const follower of this.followers) await follower.onClean();
    this.resyncOffset = from;
    return from;
  }

  /** [start, end) of a member was written anew: nothing there is bad any more, durably so after a flush. */
  heal(member: ArrayMember, start: number, end: number): void {
    member.unreadable.remove(start, end);
    if (!member.badBlocks.overlaps(start, end)) return;
    member.badBlocks.remove(start, end);
    this.noteBadBlocks(member);
  }

  /** What a member's bad blocks are has changed; durable after the next flush. */
  noteBadBlocks(member: ArrayMember): void {
    this.changedLogs.add(member);
  }

  /** Writes bad-block logs anew, then the superblocks that say whether they have entries. */
  private recordBadBlocks(members: readonly ArrayMember[]): Promise<void> {
    for (const member of members) this.changedLogs.delete(member);
    return this.serial(async () => {
      for (const member of members) {
        if (!member.isFaulty)
          await member.writeBadBlocks().catch((error: unknown) => this.core.fail(member, error));
      }
      await this.write(1, this.currentResyncOffset());
    });
  }

  /** While active, a crash makes every row suspect that no list names. */
  private currentResyncOffset(): number | null {
    return this.activation === null ? this.resyncOffset : 0;
  }

  private serial<T>(body: () => Promise<T>): Promise<T> {
    const result = this.tail.then(body, body);
    this.tail = result.catch(() => undefined);
    return result;
  }

  /** Roles of device numbers that nobody has, though a slot is theirs: true if there were any. */
  private excludeAbsent(): boolean {
    const present = new Set(this.core.liveMembers().map((member) => member.superblock.deviceNumber));
    let found = false;
    this.roles.forEach((role, number) => {
      if (typeof role !== 'number' || present.has(number)) return;
      this.roles[number] = 'spare';
      found = true;
    });
    return found;
  }

  private faultyMembers(): ArrayMember[] {
    const all = this.core.slots.flatMap((slot) => [slot.member, slot.replacement]);
    return all.filter((member): member is ArrayMember => member?.isFaulty === true);
  }

  /**
   * Writes the whole state `updates` times, one event each. Two of them put whoever is out two events behind,
   * and so out for good; in one step they would do the same to every member that a cut keeps from its
   * write. A member that fails meanwhile takes two more.
   */
  private async write(updates: 1 | 2, resyncOffset: number | null): Promise<void> {
    for (let left: number = updates; left > 0; left--) {
      if (await this.writeRound(resyncOffset)) left = 3;
    }
    this.recordedFaulty = new Set(this.faultyMembers());
  }

  /** True if a member failed that the superblocks written so far do not know of. */
  private async writeRound(resyncOffset: number | null): Promise<boolean> {
    this.core.assertUsable();
    this.currentEvents += 1n;
    const faulty = this.faultyMembers();
    for (const member of faulty) this.roles[member.superblock.deviceNumber] = 'faulty';
    const members = this.core.liveMembers();
    for (const follower of this.followers) await follower.beforeSuperblocks(this.currentEvents, members);
    const outcomes = await Promise.allSettled(members.map((member) => this.writeOne(member, resyncOffset)));
    outcomes.forEach((outcome, index) => {
      if (outcome.status === 'rejected') this.core.failUnlessFull(members[index]!, outcome.reason);
    });
    return this.faultyMembers().length > faulty.length;
  }

  private async writeOne(member: ArrayMember, resyncOffset: number | null): Promise<void> {
    const { recoveryOffset } = member;
    const { superblock } = member;
    const next = changeSuperblock(superblock, {
      events: this.currentEvents,
      utime: this.now(),
      resyncOffset,
      recoveryOffset,
      roles: this.roles,
      badBlocks: !member.badBlocks.isEmpty,
      replacement: this.core.slots.some((slot) => slot.replacement === member),
      ...(recoveryOffset === null && this.stamp !== null ? { stamp: this.stamp } : {}),
    });
    await member.device.write(next.superOffset, superblockBytes(next), { fua: true });
    member.superblock = next;
  }
}
