/** Tracking is enabled and disabled by command (coordinated dirty block tracking, paragraph 100): its log and list are made, and taken away. */
import { randomBytes } from 'node:crypto';
import { rm, rmdir } from 'node:fs/promises';
import { UserError } from '../../errors.js';
import type { Volume } from '../model.js';
import { makeTracking } from './make-tracking.js';
import { newPrimaryPlaces, type PrimaryPlaces } from './places.js';
import type { VolumeReplicas } from './volume-replicas.js';

/**
 * False: it was already. Of a volume that is open, and may be written meanwhile: what is written when this has returned is
 * tracked. When it fails, the volume is open as before, and untracked.
 */
export async function enableTracking({ located, device, tracking }: Volume): Promise<boolean> {
  if (tracking.replicas !== null) return false;
  const places = await newPrimaryPlaces(located);
  try {
    await makeTracking(places, {
      formatVersion: 1,
      volumeUuid: randomBytes(16).toString('hex'),
      sizeBytes: device.size,
      generation: { number: 1, id: randomBytes(16).toString('hex') },
      parent: null,
      former: null,
      ofSecondary: null,
      replicas: [],
    });
    await tracking.begin(places);
  } catch (error) {
    await takeAway(places);
    throw error;
  }
  return true;
}

/** The list first, which makes it tracked. What cannot be taken away does no harm: it lists no replica. */
async function takeAway({ replicas, log, directory }: PrimaryPlaces): Promise<void> {
  for (const path of [replicas, log]) await rm(path, { force: true }).catch(() => undefined);
  // Where somebody else has put something into it, it stays.
  await rmdir(directory).catch(() => undefined);
}

/** Of one that has no replicas any more. */
export async function disableTracking(volume: Volume): Promise<boolean> {
  const { label, tracking } = volume;
  const { replicas } = tracking;
  if (replicas === null) return false;
  assertNone(label, replicas);
  replicas.forget();
  return true;
}

export function assertNone(label: string, replicas: VolumeReplicas): void {
  const names = replicas.list().map(({ name }) => name);
  if (names.length === 0) return;
  throw new UserError('REFUSED', `${label} has replicas: ${names.join(', ')}`, {
    hint: 'Remove them first: holdfast replica remove.',
    details: { image: label },
  });
}
