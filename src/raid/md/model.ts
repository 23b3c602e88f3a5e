/**
 * What the rest of the RAID layer knows of md's metadata, whichever version it came in. The codecs
 * (superblock-v1.ts, superblock-v090.ts) turn bytes into this and changes of this into bytes; nobody else
 * looks at raw superblocks.
 *
 * Units: bytes everywhere, though md itself counts sectors of 512 bytes. Member offsets named `data...` are
 * counted from the start of the member's image; `...InData` are counted from its data offset. Event counts
 * are bigints, as md's are 64 bits wide.
 */
import type { BlockDevice } from '../../device/contract.js';

export const SECTOR_BYTES = 512;
/** A row: 4 KiB of every member, the unit in which md checks parity and counts mismatches. */
export const ROW_BYTES = 4096;

export type MetadataVersion = '0.90' | '1.0' | '1.1' | '1.2';

/** What a device number stands for. A number that has a slot may also be a replacement of that slot. */
export type DeviceRole = number | 'spare' | 'faulty' | 'journal';

export interface BadBlockLogPlace {
  readonly offset: number;
  readonly lengthBytes: number;
  /** Entries count in units of 512 << shift bytes. */
  readonly shift: number;
}

/** A superblock whose checksum, place and fields were checked. */
export interface Superblock {
  readonly version: MetadataVersion;
  /** Where it was found in the image. */
  readonly superOffset: number;
  /** As mdadm prints it: 4a869379:1fcd9f6b:344045f9:24675b97. */
  readonly setUuid: string;
  readonly setName: string;
  /** Seconds since 1970. */
  readonly ctime: number;
  readonly utime: number;
  readonly level: number;
  /** md's number, see geometry.ts for those of RAID-5. */
  readonly layout: number;
  readonly chunkBytes: number;
  readonly raidDisks: number;
  /** Used of each member, as stored: md rounds it down to whole chunks. */
  readonly memberSizeBytes: number;
  readonly dataOffset: number;
  /** Room for data on this member. */
  readonly dataSizeBytes: number;
  /** '' for 0.90, which has none. */
  readonly deviceUuid: string;
  /** Index into `roles`; never the slot. */
  readonly deviceNumber: number;
  readonly roles: readonly DeviceRole[];
  readonly events: bigint;
  /** Parity is right below this offset in data; null: all of it is (clean). 0 is active, or dirty. */
  readonly resyncOffset: number | null;
  /** This member's content is right below this offset in data; null: all of it is (the feature is off). */
  readonly recoveryOffset: number | null;
  /** The raw field, in version 1 while its feature bit is off: where an opening of ours leaves its stamp; 0n: md wrote last. */
  readonly stamp: bigint;
  readonly features: SuperblockFeatures;
  /** Of the internal bitmap, in the image; null: there is none. */
  readonly bitmapOffset: number | null;
  readonly ppl: { readonly offset: number; readonly lengthBytes: number } | null;
  /** The reserved place; whether it has entries is `features.badBlocks`. */
  readonly badBlockLog: BadBlockLogPlace | null;
  readonly reshape: {
    readonly newLevel: number;
    readonly newLayout: number;
    readonly newChunkBytes: number;
    readonly deltaDisks: number;
    /** Bytes of the array. */
    readonly position: bigint;
  } | null;
  /** The bytes as found; a change is encoded over them, so that what we do not know stays as it is. */
  readonly raw: Uint8Array;
}

export interface SuperblockFeatures {
  /** feature_map as found (0 for 0.90). */
  readonly raw: number;
  readonly bitmap: boolean;
  readonly recoveryOffset: boolean;
  readonly reshape: boolean;
  readonly badBlocks: boolean;
  readonly replacement: boolean;
  readonly recoveryBitmap: boolean;
  readonly clustered: boolean;
  readonly journal: boolean;
  readonly ppl: boolean;
  /** Bits that no released md has: refuse the member. */
  readonly unknown: number;
}

/** What may be changed in a superblock; whatever is absent stays. */
export interface SuperblockChange {
  readonly events?: bigint;
  readonly utime?: number;
  readonly resyncOffset?: number | null;
  readonly recoveryOffset?: number | null;
  /** Only where recovery_offset's feature bit is off after the change. */
  readonly stamp?: bigint;
  readonly roles?: readonly DeviceRole[];
  readonly replacement?: boolean;
  readonly badBlocks?: boolean;
  /** A spare that gets another number. */
  readonly deviceNumber?: number;
}

/** Something that looks like a superblock (its magic is there) and is not a good one. */
export interface DamagedSuperblock {
  readonly version: MetadataVersion;
  readonly superOffset: number;
  /** For people: which field, what it says, what it should. */
  readonly reason: string;
  /**
   * Whose it says that it is. Only where its checksum and place are right, so that it may be believed in
   * this (the image was truncated, say); else null.
   */
  readonly claim: SuperblockClaim | null;
}

/** The identity in a superblock that cannot be used. */
export interface SuperblockClaim {
  readonly setUuid: string;
  readonly setName: string;
  readonly role: DeviceRole;
}

/** What was found on one image. */
export interface ExaminedImage {
  readonly image: string;
  readonly device: BlockDevice;
  /** Every good superblock, the one that counts first: of several, the newest made (as mdadm chooses). */
  readonly superblocks: readonly Superblock[];
  readonly damaged: readonly DamagedSuperblock[];
}

export type MemberState = 'in-sync' | 'rebuilding' | 'stale' | 'faulty' | 'spare' | 'foreign' | 'missing';

export interface JudgedMember {
  /** Path of the image; null where nothing was found for a slot. */
  readonly image: string | null;
  readonly device: BlockDevice | null;
  readonly superblock: Superblock | null;
  readonly state: MemberState;
  /** The slot that it fills, or claimed; null for spares and what has none. */
  readonly slot: number | null;
  /** It is a hot replacement of the member in its slot, which still serves. */
  readonly replacement: boolean;
  /** Why it is not in-sync, for people; '' if it is. */
  readonly reason: string;
}

/** Why a set may not be used, fully or at all. */
export interface Refusal {
  /** Stable, for scripts: TWO_MEMBERS_MISSING, RESHAPE, LEVEL, JOURNAL, CLUSTERED, UNKNOWN_FEATURE, ... */
  readonly code: string;
  /** `all`: it cannot be read either. `write`: it can be read. */
  readonly forbids: 'all' | 'write';
  readonly message: string;
  /** What can be done. */
  readonly hint: string;
}

/** The geometry and identity that all members of a set share. */
export interface ArraySet {
  readonly uuid: string;
  readonly name: string;
  readonly version: MetadataVersion;
  readonly level: number;
  readonly layout: number;
  readonly chunkBytes: number;
  readonly raidDisks: number;
  /** Used of each member, rounded down to whole chunks as md does. */
  readonly memberSizeBytes: number;
  readonly ctime: number;
  /** Of the freshest member. */
  readonly events: bigint;
  /** From the freshest superblock: see Superblock.resyncOffset. */
  readonly resyncOffset: number | null;
}

/** The verdict over a set of images: what each is, what the array is, what may be done with it. */
export interface Judgement {
  /** null when no image has a superblock that counts. */
  readonly set: ArraySet | null;
  /** The superblock that all others were judged by. */
  readonly freshest: Superblock | null;
  /** One a slot: in-sync or rebuilding, else state `missing` (whatever claims the slot is in `members`). */
  readonly slots: readonly JudgedMember[];
  /** One a slot: a hot replacement under way, or null. */
  readonly replacements: readonly (JudgedMember | null)[];
  /** All images given, in the order of slots and then as given, and a `missing` entry for each empty slot. */
  readonly members: readonly JudgedMember[];
  readonly refusals: readonly Refusal[];
}
