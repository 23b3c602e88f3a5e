/** Tracking is enabled and disabled by command (coordinated dirty block tracking, paragraph 100): its log and list are made, and taken away. */
import { randomBytes } from 'node:crypto';
import { UserError } from '../../errors.js';
import type { Volume } from '../model.js';
import { makeTracking } from './make-tracking.js';
import { newPrimaryPlaces } from './places.js';

/** False: it was already. Of a volume that is open, and locked, and not tracked: nothing of it changes meanwhile. */
export async function enableTracking(volume: Volume): Promise<boolean> {
  if (volume.replicas !== null) return false;
  const { located, device } = volume;
  const places = newPrimaryPlaces(located);
  const volumeUuid = randomBytes(16).toString('hex');
  await makeTracking(places, {
    formatVersion: 1,
    volumeUuid,
    sizeBytes: device.size,
    generation: { number: 1, id: randomBytes(16).toString('hex') },
    parent: null,
    former: null,
    replicas: [],
  });
  return true;
}

/** Of one that has no replicas any more. */
export async function disableTracking(volume: Volume): Promise<boolean> {
  const { replicas, label } = volume;
  if (replicas === null) return false;
  const names = replicas.list().map(({ name }) => name);
  if (names.length > 0) {
    throw new UserError('REFUSED', `${label} has replicas: ${names.join(', ')}`, {
      hint: 'Remove them first: holdfast replica remove.',
      details: { image: label },
    });
  }
  replicas.forget();
  return true;
}
