/**
 * Keeps md's metadata on all members: event counts, clean and active, roles, recovery offsets, bad blocks.
 * The kernel looks at nothing else, so it is kept as the kernel keeps it (Linux drivers/md/md.c,
 * md_update_sb and super_1_sync).
 *
 * Invariants
 * - Superblocks say what memory says: every update writes the whole state to every live member; nothing is
 *   patched. Updates go one after another.
 * - `events` only rises, and only while all members have the same: one that is one event behind, because a cut came
 *   amid an update, is brought level first. Else a second cut could leave it two behind, and several of them out.
 * - Before the first write of an opening every superblock is durably active (resync_offset 0), with more
 *   events than before and this opening's stamp. After the last one every member is flushed, and only then a
 *   superblock says clean.
 * - A member that failed is out in all other superblocks, two events ahead of its own, before any write that
 *   went without it is answered. A member that cannot take its superblock has failed.
 * - Before others name a member in a slot, its own superblock says durably that nothing of it is whole: the kernel
 *   takes the slot of a member that is one event behind from the freshest, but how much of it is whole from its
 *   own (md.c, super_1_validate), and believes a plain spare that is named there in all that it holds.
 * - A slot that nobody fills is taken out of the roles by the first superblocks that are written: else the member
 *   that is away would be one event behind, and count as current when it comes back.
 * - A bad block is forgotten on disk only after what was written there has been flushed.
 */
import { randomBytes } from 'node:crypto';
import type { ArrayCore } from './core.js';
import type { DeviceRole, Superblock } from './md/model.js';
import { changeSuperblock, superblockBytes } from './md/superblock.js';
import type { ArrayMember } from './member.js';
import { Roles } from './roles.js';
import { JoinedIntent, type WriteIntent } from './write-intent.js';

/** What all superblocks of an update have in common. */
type SharedState = Pick<Superblock, 'events' | 'resyncOffset' | 'roles'>;

/** What all superblocks are about to say. */
export interface SuperblockUpdate {
  readonly events: bigint;
  readonly resyncOffset: number | null;
  /** Of every member that is written, as it will be on disk. */
  readonly next: ReadonlyMap<ArrayMember, Superblock>;
}

/** Something else that has to follow the superblocks: the dirty-stripe record, the internal bitmap, PPL headers. */
export interface MetadataFollower {
  /** A member that joins gets what the others have of it. */
  onJoin(member: ArrayMember): Promise<void>;
  /** Before the first write of an opening, before the superblocks. */
  onActivate(): Promise<void>;
  /** Before superblocks are written, so that it is never behind them. */
  beforeSuperblocks(update: SuperblockUpdate): Promise<void>;
  /** Nothing is being written, all members are flushed, and no row is to be resynced. */
  onClean(): Promise<void>;
  /** It tells which sectors of a missing member are in doubt, also when the superblocks say clean. */
  readonly keepsDoubt?: boolean;
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
  readonly roles: Roles;
  private readonly core: ArrayCore;
  private readonly followers: readonly MetadataFollower[];
  private readonly now: () => number;
  private currentEvents: bigint;
  private stamp: bigint | null = null;
  /** What superblocks say while nothing is written: rows below it are known to be right, and flushed. */
  private resyncOffset: number | null;
  private activation: Promise<void> | null = null;
  private stopping: Promise<void> | null = null;
  private tail: Promise<unknown> = Promise.resolve();
  private recordedFaulty = new Set<ArrayMember>();
  /** Members whose bad-block log on disk is not what memory says, and how often that has changed. */
  private readonly changedLogs = new Map<ArrayMember, number>();

  constructor(options: MetadataOptions) {
    this.core = options.core;
    this.followers = options.followers ?? [];
    this.intent = options.intent ?? new JoinedIntent([]);
    this.now = options.now ?? (() => Math.floor(Date.now() / 1000));
    this.currentEvents = options.freshest.events;
    this.roles = new Roles(options.core, options.freshest.roles);
    this.resyncOffset = options.freshest.resyncOffset;
  }

  get events(): bigint {
    return this.currentEvents;
  }

  /** Makes the array active; all who come while it is clean wait for the same update. */
  activate(): Promise<void> {
    // What stops may end with superblocks that say clean: who writes now has to make them active anew.
    if (this.stopping !== null) {
      const again = () => this.activate();
      return this.stopping.then(again, again);
    }
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
    await this.write(1, 0);
  }

  /**
   * The array stops, or rests: flushes all members, then makes the superblocks say what is left to do: nothing
   * (clean), or the lowest row whose parity is suspect. Does nothing if nothing was written, or as soon as
   * `mayStop` says no: somebody writes again.
   */
  async deactivate(mayStop: () => boolean = () => true): Promise<void> {
    if (this.activation === null || !mayStop()) return;
    this.stopping ??= this.doDeactivate().finally(() => {
      this.stopping = null;
    });
    await this.stopping;
  }

  /** Until the superblocks are written it is active still: a member that fails meanwhile must not make it clean. */
  private async doDeactivate(): Promise<void> {
    await this.activation;
    // Before the flush: what is made right meanwhile is not covered by it.
    const suspectFrom = this.core.suspect.first;
    await this.flushMembers();
    await this.serial(async () => {
      try {
        await this.write(1, await this.settle(suspectFrom));
      } finally {
        // Also where some could not be written: others say clean by now, and who writes next has to say active.
        this.activation = null;
      }
    });
  }

  /**
   * Makes all that members have taken durable. A member that cannot flush has lost writes that were
   * answered: it is faulty, durably, before the flush is answered.
   */
  async flushMembers(): Promise<void> {
    const members = this.core.slotMembers();
    const flushed = this.intent.flushing();
    let isDurable = false;
    try {
      const outcomes = await Promise.allSettled(members.map((member) => member.device.flush()));
      outcomes.forEach((outcome, index) => {
        if (outcome.status === 'rejected') this.core.fail(members[index]!, outcome.reason);
      });
      await this.recordFaults();
      // Before any entry leaves a list: what could not be made right is named by these.
      if (this.changedLogs.size > 0) await this.recordBadBlocks();
      isDurable = true;
    } finally {
      flushed(isDurable);
    }
    await this.intent.shorten();
  }

  /** Takes the members that failed out of all other superblocks. Nothing to do: nothing is written. */
  async recordFaults(): Promise<void> {
    if (this.roles.faultyMembers().every((member) => this.recordedFaulty.has(member))) return;
    this.core.assertUsable();
    await this.serial(async () => {
      if (this.roles.faultyMembers().every((member) => this.recordedFaulty.has(member))) return;
      await this.write(2, this.currentResyncOffset());
    });
  }

  /** A change of who is in the array, made in memory by `change`, is made durable with two events. */
  changeMembers(change: (roles: DeviceRole[]) => void): Promise<void> {
    return this.serial(async () => {
      change(this.roles.table);
      await this.write(2, this.currentResyncOffset());
    });
  }

  /**
   * Makes a spare ready to be named in a slot: gives it what the others have beside their superblocks, and has it
   * say that nothing of it is whole.
   */
  async prepareNewMember(member: ArrayMember): Promise<void> {
    for (const follower of this.followers) await follower.onJoin(member);
    member.beginRebuild();
    await this.serial(() =>
      this.writeOne(member, this.nextSuperblock(member, this.stateNow(this.currentResyncOffset()))),
    );
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
      // While it is active, rows are in doubt that are not suspect: those that are being written.
      await this.write(1, this.activation === null ? await this.settle(suspectFrom) : 0);
    });
  }

  /**
   * Nothing is being written, members are flushed: what is left to resync starts at `from`; null: nothing is. What is
   * in doubt for good, with its member gone, is nothing that a resync could make right.
   */
  private async settle(from: number | null): Promise<number | null> {
    const isKept = this.core.isRecovered && this.followers.some((follower) => follower.keepsDoubt === true);
    const left = isKept && this.core.isDegraded ? null : from;
    if (left === null) for (const follower of this.followers) await follower.onClean();
    this.resyncOffset = left;
    return left;
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
    this.changedLogs.set(member, (this.changedLogs.get(member) ?? 0) + 1);
  }

  /** Writes bad-block logs anew, then the superblocks that say whether they have entries. */
  private recordBadBlocks(): Promise<void> {
    return this.serial(async () => {
      if (this.changedLogs.size === 0) return;
      for (const [member, changes] of [...this.changedLogs]) {
        await member.writeBadBlocks().catch((error: unknown) => this.core.failUnlessFull(member, error));
        if (this.changedLogs.get(member) === changes) this.changedLogs.delete(member);
      }
      await this.write(1, this.currentResyncOffset());
    });
  }

  /** While active, a crash makes every row suspect that no list names. */
  private currentResyncOffset(): number | null {
    if (this.activation !== null) return 0;
    // With all members there, what is suspect is to be made right, and is not clean until then.
    const isComplete = !this.core.isDegraded;
    return this.resyncOffset ?? (isComplete ? this.core.suspect.first : null);
  }

  private serial<T>(body: () => Promise<T>): Promise<T> {
    const result = this.tail.then(body, body);
    this.tail = result.catch(() => undefined);
    return result;
  }

  /**
   * Writes the whole state `updates` times, one event each. Two of them put whoever is out two events behind,
   * and so out for good; in one step they would do the same to every member that a cut keeps from its
   * write. A member that fails meanwhile takes two more.
   */
  private async write(updates: 1 | 2, resyncOffset: number | null): Promise<void> {
    await this.level();
    const excluded = this.roles.settle();
    for (let left: number = excluded ? 2 : updates; left > 0; left--) {
      if (await this.writeRound(resyncOffset)) left = 3;
    }
  }

  /** Whether no update is left that came to some members only. */
  get isLevel(): boolean {
    const [first, ...others] = this.updatedMembers();
    return others.every(({ superblock }) => superblock.events === first?.superblock.events);
  }

  /** Ends an update that a cut or a full disk kept from some members: they say what the others say. */
  private async level(): Promise<void> {
    this.core.assertUsable();
    const members = this.updatedMembers();
    const freshest = members.reduce((a, b) => (b.superblock.events > a.superblock.events ? b : a));
    const { events, resyncOffset, roles } = freshest.superblock;
    // Of one that nobody could take nothing is known to be on disk.
    this.currentEvents = events;
    const behind = members.filter((member) => member.superblock.events < events);
    if (behind.length === 0) return;
    const next = new Map(
      behind.map((member) => [member, this.nextSuperblock(member, { events, resyncOffset, roles })]),
    );
    await this.writeSuperblocks({ events, resyncOffset, next });
  }

  /** True if a member failed that the superblocks written so far do not know of. */
  private async writeRound(resyncOffset: number | null): Promise<boolean> {
    this.core.assertUsable();
    this.currentEvents += 1n;
    const events = this.currentEvents;
    const faulty = this.roles.faultyMembers();
    this.roles.expel(faulty);
    const state = this.stateNow(resyncOffset);
    const next = new Map(this.updatedMembers().map((member) => [member, this.nextSuperblock(member, state)]));
    await this.writeSuperblocks({ events, resyncOffset, next });
    // Who fails from here on is not in these: it has to be recorded anew.
    this.recordedFaulty = new Set(faulty);
    return this.roles.faultyMembers().length > faulty.length;
  }

  /** Who takes updates. Who leaves keeps the superblock that it has: it is behind by that. */
  private updatedMembers(): ArrayMember[] {
    const leaving = new Set(this.core.slots.map((slot) => slot.leaving));
    return this.core.liveMembers().filter((member) => !leaving.has(member));
  }

  private async writeSuperblocks(update: SuperblockUpdate): Promise<void> {
    for (const follower of this.followers) await follower.beforeSuperblocks(update);
    const written = [...update.next];
    const outcomes = await Promise.allSettled(written.map(([member, next]) => this.writeOne(member, next)));
    outcomes.forEach((outcome, index) => {
      if (outcome.status === 'rejected') this.core.failUnlessFull(written[index]![0], outcome.reason);
    });
  }

  private nextSuperblock(member: ArrayMember, state: SharedState): Superblock {
    const { recoveryOffset, superblock } = member;
    return changeSuperblock(superblock, {
      ...state,
      utime: this.now(),
      recoveryOffset,
      deviceNumber: this.roles.numberOf(member),
      badBlocks: member.hasLoggedBadBlocks,
      replacement: this.core.slots.some((slot) => slot.replacement === member),
      ...(recoveryOffset === null && this.stamp !== null ? { stamp: this.stamp } : {}),
    });
  }

  /** What superblocks say now, but for `resyncOffset`. */
  private stateNow(resyncOffset: number | null): SharedState {
    return { events: this.currentEvents, resyncOffset, roles: this.roles.table };
  }

  private async writeOne(member: ArrayMember, next: Superblock): Promise<void> {
    await member.device.write(next.superOffset, superblockBytes(next), { fua: true });
    member.superblock = next;
  }
}
