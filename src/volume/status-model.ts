/** What `holdfast status` says of a volume. */

import type { FlagPlace } from '../metadata/flag-places.js';
import type { MemberState } from '../raid/md/model.js';
import type { ReplicaStatus } from './replication/status.js';
import type { ServingStatus } from './serving-status.js';
import type { SnapshotStatus } from './snapshots/status.js';

export type VolumeState =
  | 'clean'
  | 'active'
  | 'dirty'
  | 'degraded'
  | 'dirty-degraded'
  | 'rebuilding'
  | 'failed';

export interface MemberStatus {
  readonly slot: number | null;
  readonly image: string | null;
  readonly state: MemberState;
  readonly reason: string;
  readonly replacement: boolean;
  readonly events: number | null;
  readonly deviceNumber: number | null;
  readonly deviceUuid: string | null;
  /** How far a rebuild has come, of `memberSizeBytes`. */
  readonly rebuiltBytes: number | null;
  readonly badBlocks: readonly { offsetBytes: number; lengthBytes: number }[];
}

export interface VolumeStatus {
  readonly name: string;
  readonly uuid: string | null;
  readonly format: 'raw' | 'extents';
  /** Of the format extents: what the extents of the volume itself hold. */
  readonly sizeBytes: number;
  readonly state: VolumeState;
  readonly members: readonly MemberStatus[];
  /** Stripes whose parity may be wrong. */
  readonly dirtyStripes: number;
  /** Bytes of the volume that nobody can tell: reads of them fail until they are written anew. */
  readonly inDoubt: readonly { offsetBytes: number; lengthBytes: number }[];
  readonly replicas: readonly ReplicaStatus[];
  readonly snapshots: readonly SnapshotStatus[];
  /** What is wrong and what to do, for people. */
  readonly problems: readonly { code: string; message: string; hint: string }[];
  /** Who has it open for writing. */
  readonly holder: { pid: number; command: string } | 'unknown' | null;
  readonly raid?: RaidStatus;
  /** Of the format extents; absent where its superblock cannot be had. */
  readonly extents?: ExtentsStatus;
  /** Where a server has it open. */
  readonly serving?: ServingStatus;
}

/** Numbers are null where the metadata cannot be read, or is being written by somebody else. */
export interface ExtentsStatus {
  readonly extentBytes: number;
  readonly blockBytes: number;
  /** Where flags of what is not committed are kept unless said otherwise. */
  readonly flags: FlagPlace;
  /** Of the pool, those of a journal image too. */
  readonly extents: number | null;
  readonly free: number | null;
  /** Of the free ones, kept for files. */
  readonly reserved: number | null;
  /** That clients have, for what they write. */
  readonly journal: number | null;
  readonly files: number | null;
  /** Extents with changes that are kept and not committed. */
  readonly uncommitted: number | null;
  readonly transactionsToComplete: number | null;
}

export interface RaidStatus {
  readonly level: number;
  readonly layout: string;
  readonly chunkBytes: number;
  readonly raidDisks: number;
  readonly dataOffsetBytes: number;
  readonly memberSizeBytes: number;
  readonly metadataVersion: string;
  readonly events: number;
  /** null: clean. */
  readonly resyncOffsetBytes: number | null;
  readonly consistency: 'resync' | 'bitmap' | 'ppl' | 'journal';
  readonly record: RecordStatus;
}

/** The dirty-stripe record. */
export interface RecordStatus {
  /** `none`: after a crash all is resynced, or what the kernel's bitmap names. */
  readonly kind: 'members' | 'file' | 'none';
  readonly file: string | null;
  /**
   * `valid`: it counts. `void`: somebody else wrote superblocks since. `lost`: the newest is damaged. `absent`: its
   * file is not there. `unusable`: that holds something else.
   */
  readonly verdict: 'valid' | 'none' | 'void' | 'lost' | 'later' | 'absent' | 'unusable';
  readonly reason: string;
  readonly generation: number | null;
  /** Bytes of the volume that a record which counts no more had in doubt: what they hold nobody can tell now. */
  readonly forgottenDoubt: readonly { offsetBytes: number; lengthBytes: number }[];
}
