/**
 * Writes superblocks to all members, in rounds of one event each (Linux drivers/md/md.c, md_update_sb and
 * super_1_sync). When, and what they say of parity, is the business of metadata.ts, which calls one at a time.
 *
 * Invariants
 * - Superblocks say what memory says: every round writes the whole state to every live member; nothing is patched.
 * - `events` only rises, and only while all members have the same: one that is one event behind, because a cut came
 *   amid a round, is brought level first. Else a second cut could leave it two behind, and several of them out.
 * - A member that failed is out in all other superblocks, two events ahead of its own, when `write` ends. A member
 *   that cannot take its superblock has failed.
 * - A slot that nobody fills is taken out of the roles by the first superblocks that are written: else the member
 *   that is away would be one event behind, and count as current when it comes back.
 */
import { randomBytes } from 'node:crypto';
import type { ArrayCore } from './core.js';
import type { Superblock } from './md/model.js';
import { changeSuperblock, superblockBytes } from './md/superblock.js';
import type { ArrayMember } from './member.js';
import type { MetadataFollower, SuperblockUpdate } from './metadata-follower.js';
import { Roles } from './roles.js';

/** What all superblocks of a round have in common. */
type SharedState = Pick<Superblock, 'events' | 'resyncOffset' | 'roles'>;

export class SuperblockRounds {
  readonly roles: Roles;
  private currentEvents: bigint;
  private stamp: bigint | null = null;
  private stampTag: number | null = null;
  private recordedFaulty = new Set<ArrayMember>();

  constructor(
    private readonly core: ArrayCore,
    freshest: Superblock,
    private readonly followers: readonly MetadataFollower[],
  ) {
    this.currentEvents = freshest.events;
    this.roles = new Roles(core, freshest.roles);
  }

  get events(): bigint {
    return this.currentEvents;
  }

  /** All members that failed are out in the superblocks of the others. */
  get knowFaults(): boolean {
    return this.roles.faultyMembers().every((member) => this.recordedFaulty.has(member));
  }

  /** The upper half of stamps from the next one on, so that who knows it knows them; not zero, 32 bits. */
  tagStamps(tag: number): void {
    this.stampTag = tag;
  }

  /** The opening's, in all superblocks of members that are in-sync from now on: whoever else writes one drops it. */
  newStamp(): bigint {
    const random = randomBytes(8);
    if (this.stampTag !== null) random.writeUInt32LE(this.stampTag, 4);
    this.stamp = random.readBigUInt64LE();
    return this.stamp;
  }

  /**
   * Writes the whole state `updates` times, one event each. Two of them put whoever is out two events behind,
   * and so out for good; in one step they would do the same to every member that a cut keeps from its
   * write. A member that fails meanwhile takes two more.
   */
  async write(updates: 1 | 2, resyncOffset: number | null): Promise<void> {
    await this.level();
    const excluded = this.roles.settle();
    for (let left: number = excluded ? 2 : updates; left > 0 || this.isOneBehind(); left--) {
      if (await this.writeRound(resyncOffset)) left = 3;
    }
  }

  /** Who failed may have had a round that the others have not: two rounds are not enough to leave it behind. */
  private isOneBehind(): boolean {
    return this.roles.faultyMembers().some(({ superblock }) => superblock.events + 2n > this.currentEvents);
  }

  /** The superblock of this one alone, without a new event. Throws what its image throws. */
  async writeAlone(member: ArrayMember, resyncOffset: number | null): Promise<void> {
    await this.writeOne(member, this.nextSuperblock(member, this.stateNow(resyncOffset)));
  }

  /** Whether no round is left that came to some members only. */
  get isLevel(): boolean {
    const [first, ...others] = this.servingMembers();
    return others.every(({ superblock }) => superblock.events === first?.superblock.events);
  }

  /**
   * Ends an update that a cut or a full disk kept from some members: they say what the others say. What a spare says
   * counts for nothing, whatever its events: it may come from another time.
   */
  async level(): Promise<void> {
    this.core.assertUsable();
    const members = this.servingMembers();
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

  /** Who leaves keeps the superblock that it has: it is behind by that. */
  private servingMembers(): ArrayMember[] {
    const leaving = new Set(this.core.slots.map((slot) => slot.leaving));
    return this.core.slotMembers().filter((member) => !leaving.has(member));
  }

  /** Who takes updates. */
  private updatedMembers(): ArrayMember[] {
    return [...this.servingMembers(), ...this.core.spares.filter((member) => !member.isFaulty)];
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
    // Also where it only recovers: without a stamp nobody could tell what it has left from what md leaves.
    const stamp = this.stamp ?? this.newStamp();
    return changeSuperblock(superblock, {
      ...state,
      utime: Math.floor(Date.now() / 1000),
      recoveryOffset,
      deviceNumber: this.roles.numberOf(member),
      badBlocks: member.hasLoggedBadBlocks,
      replacement: this.core.slots.some((slot) => slot.replacement === member),
      ...(recoveryOffset === null ? { stamp } : {}),
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
