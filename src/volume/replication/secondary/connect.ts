/**
 * Secondaries as they are reached: in a place of ours (place.ts), or an export of any other NBD server. Our own take
 * epochs whole, and keep what a resync overwrites; of another server's neither can be said (it is *foreign*), and what is known
 * of it is in the primary's list alone.
 *
 * Which of both it is, is found out when it is added, and kept: what was made in a place of ours is never written as a foreign
 * one, whatever answers there later, since its log and its marks would know nothing of that.
 *
 * What cannot be ruled out of a foreign one: that it does what was in flight on a connection which was given up after a newer
 * connection has written the same blocks. NBD has no means against it (session.ts); a session of ours ends with its connection.
 */
import type { NbdDevice, NbdDeviceOptions } from '../../../nbd/client/nbd-device.js';
import type { ConnectedSecondary } from '../../../replication/replica-parts.js';
import { PATIENCE } from '../../../replication/resync/resync.js';
import { claimBlank } from '../../blank.js';
import { isRemote } from '../../remote.js';
import type { ReplicaEntry, ReplicasContent } from '../replicas-file.js';
import { ImagePlace } from './image-place.js';
import { notBlank, type SecondaryPlace, SILENCE_MS, tooSmall } from './place.js';

/** Of a server that has no epochs: how much is sent before it is flushed. */
const FOREIGN_EPOCH_BYTES = 32 * 1024 * 1024;
/** All of it may be zeroed, with few answers, as fast as its disk is. */
const PREPARE_SILENCE_MS = 5 * 60_000;

type Whose = Pick<ReplicasContent, 'volumeUuid' | 'sizeBytes' | 'generation'>;
type OnWhole = (isWhole: boolean) => Promise<void>;

export interface NewSecondaryOptions {
  /** What it holds is lost. */
  readonly force: boolean;
}

/** Makes the secondary ready to take a first copy. Whether it is in a place behind a server of ours. */
export async function prepareSecondary(
  { to, uuid }: Pick<ReplicaEntry, 'to' | 'uuid'>,
  { volumeUuid, sizeBytes, generation }: Whose,
  { force }: NewSecondaryOptions,
): Promise<{ readonly isServed: boolean }> {
  const place = isRemote(to) ? await remotePlace(to) : new ImagePlace(to);
  if (place === null) await prepareForeign(to, sizeBytes, force);
  else await place.make({ volumeUuid, replicaUuid: uuid, sizeBytes, generation, force });
  return { isServed: isRemote(to) && place !== null };
}

/** @throws what keeps it from being reached; REFUSED with the reason `diverged` where it is not this primary's any more. */
export async function connectSecondary(
  entry: ReplicaEntry,
  whose: Whose,
  onWhole: OnWhole,
  signal: AbortSignal,
): Promise<ConnectedSecondary> {
  const place = await placeOf(entry);
  if (place === null) return connectForeign(entry, whose, onWhole, signal);
  const { volumeUuid, generation } = whose;
  const { device, epochBytes, ...joined } = await place.join({ volumeUuid, replicaUuid: entry.uuid }, signal);
  return {
    device,
    epochBytes,
    beginResync: async () => {
      await onWhole(false);
      await joined.beginResync();
    },
    endResync: async () => {
      await joined.endResync(generation);
      await onWhole(true);
    },
    close: joined.close,
  };
}

/** null: it is foreign. */
export async function placeOf({
  to,
  isServed,
}: Pick<ReplicaEntry, 'to' | 'isServed'>): Promise<SecondaryPlace | null> {
  if (!isRemote(to)) return new ImagePlace(to);
  if (!isServed) return null;
  const { RemotePlace } = await import('./remote-place.js');
  return new RemotePlace(to);
}

async function remotePlace(uri: string): Promise<SecondaryPlace | null> {
  const { RemotePlace } = await import('./remote-place.js');
  return RemotePlace.find(uri);
}

async function prepareForeign(uri: string, sizeBytes: number, force: boolean): Promise<void> {
  const device = await openForeign(uri, sizeBytes, { answerTimeoutMs: PREPARE_SILENCE_MS });
  try {
    await claimBlank(device, force, (offset) => notBlank(uri, offset));
  } finally {
    await device.close();
  }
}

async function connectForeign(
  { to, limits: { lateMs = 0 } }: ReplicaEntry,
  { sizeBytes }: Whose,
  onWhole: OnWhole,
  signal: AbortSignal,
): Promise<ConnectedSecondary> {
  // The replica's own deadline is for what is written; this one is for reads as well, and must not be the shorter one.
  const answerTimeoutMs = Math.max(SILENCE_MS, PATIENCE * lateMs);
  const device = await openForeign(to, sizeBytes, { answerTimeoutMs, signal });
  return {
    device,
    epochBytes: FOREIGN_EPOCH_BYTES,
    beginResync: () => onWhole(false),
    endResync: () => onWhole(true),
    close: () => device.closeSoon(),
  };
}

async function openForeign(
  uri: string,
  sizeBytes: number,
  options: Pick<NbdDeviceOptions, 'answerTimeoutMs' | 'signal'>,
): Promise<NbdDevice> {
  const { NbdDevice } = await import('../../../nbd/client/nbd-device.js');
  // One that is lost is resynced, and not waited for.
  const device = await NbdDevice.open(uri, { readOnly: false, reconnect: { tries: 0 }, ...options });
  if (device.size >= sizeBytes) return device;
  await device.close();
  throw tooSmall(device, sizeBytes);
}
