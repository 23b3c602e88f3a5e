/**
 * Keeps md's metadata on all members: clean and active, who is in the array, recovery offsets, bad blocks.
 * The kernel looks at nothing else, so it is kept as the kernel keeps it (Linux drivers/md/md.c). Here is when
 * superblocks are written and what has to be durable before; how they are is superblock-rounds.ts's.
 *
 * Invariants
 * - Updates go one after another.
 * - Before the first write of an opening every superblock is durably active (resync_offset 0), with more
 *   events than before and this opening's stamp. After the last one every member is flushed, and only then a
 *   superblock says clean.
 * - A member that failed is out in all other superblocks, two events ahead of its own, before any write that
 *   went without it is answered.
 * - Before others name a member in a slot, its own superblock says durably that nothing of it is whole: the kernel
 *   takes the slot of a member that is one event behind from the freshest, but how much of it is whole from its
 *   own (md.c, super_1_validate), and believes a plain spare that is named there in all that it holds.
 * - A bad block is forgotten on disk only after what was written there has been flushed.
 */
import type { ArrayCore } from './core.js';
import type { DeviceRole, Superblock } from './md/model.js';
import type { ArrayMember } from './member.js';
import type { MetadataFollower } from './metadata-follower.js';
import type { Roles } from './roles.js';
import { SuperblockRounds } from './superblock-rounds.js';
import type { WriteIntent } from './write-intent.js';

export interface MetadataOptions {
  readonly core: ArrayCore;
  readonly freshest: Superblock;
  readonly followers: readonly MetadataFollower[];
  readonly intent: WriteIntent;
}

export class ArrayMetadata {
  readonly intent: WriteIntent;
  private readonly core: ArrayCore;
  private readonly followers: readonly MetadataFollower[];
  /** All updates go through `serial`. */
  private readonly superblocks: SuperblockRounds;
  /** What superblocks say while nothing is written: rows below it are known to be right, and flushed. */
  private resyncOffset: number | null;
  private activation: Promise<void> | null = null;
  private stopping: Promise<void> | null = null;
  private tail: Promise<unknown> = Promise.resolve();
  /** Members whose bad-block log on disk is not what memory says, and how often that has changed. */
  private readonly changedLogs = new Map<ArrayMember, number>();

  constructor({ core, freshest, followers, intent }: MetadataOptions) {
    this.core = core;
    this.followers = followers;
    this.intent = intent;
    this.superblocks = new SuperblockRounds(core, freshest, followers);
    this.resyncOffset = freshest.resyncOffset;
  }

  get events(): bigint {
    return this.superblocks.events;
  }

  get roles(): Roles {
    return this.superblocks.roles;
  }

  /** Whether no update is left that came to some members only. */
  get isLevel(): boolean {
    return this.superblocks.isLevel;
  }

  /** Openings from the next first write on are known by this (`SuperblockRounds.tagStamps`). */
  tagStamps(tag: number): void {
    this.superblocks.tagStamps(tag);
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
    this.superblocks.newStamp();
    await this.superblocks.write(1, 0);
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
        await this.superblocks.write(1, await this.settle(suspectFrom));
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
    if (this.superblocks.knowFaults) return;
    this.core.assertUsable();
    await this.serial(async () => {
      if (this.superblocks.knowFaults) return;
      await this.superblocks.write(2, this.currentResyncOffset());
    });
  }

  /** A change of who is in the array, made in memory by `change`, is made durable with two events. */
  changeMembers(change: (roles: DeviceRole[]) => void): Promise<void> {
    return this.serial(async () => {
      // Before the change: what is left of an update is of how things were then.
      await this.superblocks.level();
      change(this.roles.table);
      await this.superblocks.write(2, this.currentResyncOffset());
    });
  }

  /**
   * Makes a spare ready to be named in a slot: gives it what the others have beside their superblocks, and has it
   * say that nothing of it is whole.
   */
  async prepareNewMember(member: ArrayMember): Promise<void> {
    for (const follower of this.followers) await follower.onJoin(member);
    member.beginRebuild();
    await this.serial(() => this.superblocks.writeAlone(member, this.currentResyncOffset()));
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
      await this.superblocks.write(1, this.activation === null ? await this.settle(suspectFrom) : 0);
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
      await this.superblocks.write(1, this.currentResyncOffset());
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
}
