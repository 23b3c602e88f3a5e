/**
 * Partial parity logs while we write. We do not write entries; so every log is emptied, durably, before the
 * first write of an opening. After a crash of ours the kernel then finds logs without entries and resyncs in
 * full; old entries it would replay, and call the array clean with parity that is stale.
 *
 * With a member missing the kernel starts a dirty array that has such logs without asking, because it trusts
 * them to have closed the write hole. Ours have not: so a degraded array with these logs is not written, not
 * even from when a member fails amid writes.
 */
import { UserError } from '../errors.js';
import type { ArrayCore } from './core.js';
import { emptyPpl } from './md/ppl.js';
import type { ArrayMember } from './member.js';
import type { MetadataFollower } from './metadata-follower.js';
import type { IntentTicket, WriteIntent } from './write-intent.js';

export class PplFollower implements MetadataFollower, WriteIntent {
  constructor(private readonly core: ArrayCore) {}

  /** Nothing is written down here. */
  begin(): IntentTicket {
    return this;
  }

  async durable(): Promise<void> {
    this.assertAllowed();
  }

  assertAllowed(): void {
    if (this.core.isDegraded) throw refuseDegraded(this.core);
  }

  end(): void {}

  flushing(): () => void {
    return () => undefined;
  }

  shorten(): Promise<void> {
    return Promise.resolve();
  }

  async onActivate(): Promise<void> {
    this.assertAllowed();
    await Promise.all(this.core.slotMembers().map((member) => this.onJoin(member)));
  }

  async onJoin(member: ArrayMember): Promise<void> {
    await emptyPpl(member.device, member.superblock);
    await member.device.flush();
  }

  beforeSuperblocks(): Promise<void> {
    return Promise.resolve();
  }

  onClean(): Promise<void> {
    return Promise.resolve();
  }
}

function refuseDegraded(core: ArrayCore): UserError {
  return new UserError(
    'REFUSED',
    `${core.name} is degraded and has partial parity logs: after a crash the kernel would trust them to name what was being written, and holdfast does not write them`,
    {
      hint: 'rebuild first (holdfast member add), or take the logs away with mdadm --grow --consistency-policy=resync',
    },
  );
}
