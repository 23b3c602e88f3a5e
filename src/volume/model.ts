/**
 * What a volume is while it is open, and how it is to be opened: the words that the files of this folder share.
 */
import type { BlockDevice } from '../device/contract.js';
import { UserError } from '../errors.js';
import type { Role } from '../extents/format/superblock.js';
import type { RaidArray } from '../raid/array.js';
import type { Judgement } from '../raid/md/model.js';
import type { ResyncResult } from '../raid/resync.js';
import type { SweepOptions } from '../raid/sweep.js';
import type { Moments } from '../snapshot/moments.js';
import type { VolumeBackups } from './backup/volume-backups.js';
import type { HeldImages } from './held-images.js';
import type { Located } from './locate.js';
import type { VolumeTracking } from './replication/volume-tracking.js';
import type { VolumeSnapshots } from './snapshots/volume-snapshots.js';
import type { VolumeFiles } from './volume-files.js';

export interface OpenVolumeOptions {
  readonly access: 'read' | 'write';
  /** Start it though it is dirty and degraded. */
  readonly force?: boolean;
  /** Read an image that has a superblock as it is. Read only. */
  readonly asRaw?: boolean;
  /** Where the dirty-stripe record is kept, if not on the members; before what the manifest says. */
  readonly record?: string | undefined;
  readonly warn: (message: string) => void;
  readonly sweep?: Omit<SweepOptions, 'checkpoint'>;
}

/** What had to be done before the volume could be written. */
export interface Recovery extends ResyncResult {
  /** Entries of partial parity logs that were replayed. */
  readonly replayedEntries: number;
  /** It was dirty and degraded, and is started all the same: what is in doubt stays so. */
  readonly isInDoubt: boolean;
}

export interface Volume {
  readonly label: string;
  readonly located: Located;
  /** The volume's bytes. Open for writing it takes any range of them, and an array has a write-back cache above it. */
  readonly device: BlockDevice;
  /** What it is to a volume of files: that itself, or an image of one; null: nothing, or nobody asked. */
  readonly role: Role | null;
  /** null where it is no volume of files. */
  readonly files: VolumeFiles | null;
  /** null for a single image. */
  readonly array: RaidArray | null;
  readonly judgement: Judgement | null;
  readonly recovery: Recovery | null;
  /** Whether what is written to it is tracked, which may begin while it is open; and its replicas. */
  readonly tracking: VolumeTracking;
  /** Of which moments can be chosen while it is written; null: nobody writes it here. */
  readonly moments: Moments | null;
  readonly backups: VolumeBackups;
  /** Those that outlive the command that made them. */
  readonly snapshots: VolumeSnapshots;
  /** The images that are open, and locked, because of it: closed with the volume, or as soon as they leave it. */
  readonly held: HeldImages;
  /** Stops what is open in order, top down; the volume is clean after it, if it can be. */
  close(): Promise<void>;
}

/** The array of a volume that has one. */
export function arrayOf(volume: Volume): RaidArray {
  if (volume.array !== null) return volume.array;
  throw new UserError('UNSUPPORTED', `${volume.label} is a single image: it has no members`);
}
