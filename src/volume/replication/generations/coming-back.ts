/** An old primary that comes back, wherever it is: an image here (old-primary.ts), or behind a server of ours (secondary/remote-old-primary.ts). */
import { isRemote } from '../../remote.js';
import type { RemoteOldPrimary } from '../secondary/remote-old-primary.js';
import {
  idOfOld,
  imageOf,
  type OldPrimary,
  type Promoted,
  type Rejoining,
  readOldPrimary,
  withOldImage,
} from './old-primary.js';

/** Here, or behind a server of ours. @throws UserError as `readOldPrimary`. */
export async function lookAtOldPrimary(name: string, ours: Promoted): Promise<OldPrimary> {
  const image = await imageOf(name);
  return isRemote(image) ? (await remotely(image, ours)).look() : readOldPrimary(image, ours);
}

/**
 * Nobody else makes it anything as long as `use` runs: here it is locked; a server compares, with the image locked, what it has
 * written with what `use` was given, when that makes it a secondary. @throws UserError IN_USE, and as `readOldPrimary`.
 */
export async function withOldPrimary<T>(
  image: string,
  ours: Promoted,
  use: (old: OldPrimary, rejoining: Rejoining) => Promise<T>,
): Promise<T> {
  if (!isRemote(image)) return withOldImage(image, ours, use);
  const remote = await remotely(image, ours);
  const old = await remote.look();
  // Its server forgets the list there when we join.
  return use(old, { make: (secondary) => remote.rejoin(secondary, idOfOld(old)), forget: async () => {} });
}

async function remotely(uri: string, ours: Promoted): Promise<RemoteOldPrimary> {
  const { RemoteOldPrimary } = await import('../secondary/remote-old-primary.js');
  return new RemoteOldPrimary(uri, ours);
}
