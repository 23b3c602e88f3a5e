/**
 * Who has which role, by device number, as the next superblocks will say: a slot, a spare, or out (Linux
 * drivers/md/md.c, super_1_sync).
 */
import type { ArrayCore } from './core.js';
import type { DeviceRole } from './md/model.js';
import type { ArrayMember } from './member.js';

export class Roles {
  /** By device number. */
  readonly table: DeviceRole[];

  constructor(
    private readonly core: ArrayCore,
    roles: readonly DeviceRole[],
  ) {
    this.table = [...roles];
  }

  /**
   * Numbers of members that are not there stay theirs as long as a role says so (md.c, bind_rdev_to_array). Those
   * of members that failed and are gone are taken again when the table has no others: it does not grow.
   */
  freeNumber(): number {
    const present = [...this.core.liveMembers(), ...this.faultyMembers()];
    const taken = new Set(present.map((member) => member.superblock.deviceNumber));
    const numbers = this.table.map((_, number) => number).slice(this.core.geometry.raidDisks);
    const free = (role: DeviceRole) =>
      numbers.find((number) => this.table[number] === role && !taken.has(number));
    return free('spare') ?? free('faulty') ?? this.table.length;
  }

  /**
   * Makes the roles say who is there: those that were read may name a spare in a slot, where a cut came amid the
   * superblocks of its seating. True if somebody who is away has lost a slot by it.
   */
  settle(): boolean {
    for (const { superblock } of this.core.spares) {
      // Numbers behind the table are spare as they are; one of a broken spare may be 2^32 - 1.
      if (superblock.deviceNumber < this.table.length) this.table[superblock.deviceNumber] = 'spare';
    }
    for (const { index, member, replacement } of this.core.slots) {
      for (const each of [member, replacement]) if (each) this.table[this.numberOf(each)] = index;
    }
    this.expel(this.faultyMembers());
    const present = new Set(this.core.liveMembers().map((member) => this.numberOf(member)));
    let hasLost = false;
    for (const [number, role] of this.table.entries()) {
      if (typeof role !== 'number' || present.has(number)) continue;
      this.table[number] = 'spare';
      hasLost = true;
    }
    return hasLost;
  }

  /**
   * A member keeps the number that it joined with; but in 0.90 the number of one that is in-sync is its slot (md.c,
   * super_90_sync), and the kernel starts nothing else.
   */
  numberOf(member: ArrayMember): number {
    const { version, deviceNumber } = member.superblock;
    if (version !== '0.90' || !member.isInSync) return deviceNumber;
    return this.core.slots.find((slot) => slot.member === member)?.index ?? deviceNumber;
  }

  /** These have failed. */
  expel(members: readonly ArrayMember[]): void {
    for (const { superblock } of members) this.table[superblock.deviceNumber] = 'faulty';
  }

  faultyMembers(): ArrayMember[] {
    const faulty: ArrayMember[] = [];
    for (const { member, replacement, leaving } of this.core.slots) {
      if (member?.isFaulty === true) faulty.push(member);
      if (replacement?.isFaulty === true) faulty.push(replacement);
      if (leaving?.isFaulty === true) faulty.push(leaving);
    }
    return faulty;
  }
}
