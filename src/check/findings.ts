/**
 * What a check may find, once for all: each has a code that never changes its meaning, and docs/findings.md explains
 * each (a test holds the page to this list, both ways).
 */

/**
 * `info`: nothing is wrong, but worth knowing; it does not count in the exit code. `warning`: whole, but less safe
 * than it should be. `error`: wrong. `fatal`: data is lost, in doubt, or cannot be reached.
 */
export type Severity = 'info' | 'warning' | 'error' | 'fatal';

export type Layer = 'image' | 'raid' | 'extents' | 'metadata' | 'snapshot';

const CODES = {
  IMAGE_ABSENT: ['error', 'image'],
  IMAGE_CUT_SHORT: ['error', 'image'],
  IMAGE_TAIL: ['info', 'image'],
  IMAGE_UNREADABLE: ['error', 'image'],
  IMAGE_FOREIGN: ['error', 'image'],
  SET_NOT_ASSEMBLED: ['fatal', 'raid'],
  SET_READ_ONLY: ['warning', 'raid'],
  SUPERBLOCK_DAMAGED: ['error', 'raid'],
  SUPERBLOCK_LEFT_OVER: ['info', 'raid'],
  SUPERBLOCKS_DISAGREE: ['warning', 'raid'],
  MEMBER_MISSING: ['error', 'raid'],
  MEMBER_STALE: ['error', 'raid'],
  MEMBER_FAULTY: ['error', 'raid'],
  MEMBER_REPLACED: ['info', 'raid'],
  REBUILD_UNFINISHED: ['warning', 'raid'],
  ARRAY_DIRTY: ['error', 'raid'],
  ARRAY_DIRTY_DEGRADED: ['fatal', 'raid'],
  RECORD_FILE_ABSENT: ['warning', 'raid'],
  RECORD_FILE_UNUSABLE: ['error', 'raid'],
  RECORD_ABSENT: ['info', 'raid'],
  RECORD_LOST: ['warning', 'raid'],
  RECORD_VOID: ['info', 'raid'],
  RECORD_DAMAGED: ['info', 'raid'],
  RECORD_COPIES_DIFFER: ['warning', 'raid'],
  DATA_IN_DOUBT: ['fatal', 'raid'],
  DOUBT_FORGOTTEN: ['error', 'raid'],
  BITMAP_UNUSABLE: ['error', 'raid'],
  BITMAP_STALE: ['warning', 'raid'],
  BITMAP_COPIES_DIFFER: ['warning', 'raid'],
  PPL_DAMAGED: ['warning', 'raid'],
  BAD_BLOCKS: ['warning', 'raid'],
  BAD_BLOCK_LOG_DAMAGED: ['error', 'raid'],
  PARITY_MISMATCH: ['error', 'raid'],
  FILES_NOT_ASSEMBLED: ['fatal', 'extents'],
  EXTENTS_COPY_DAMAGED: ['warning', 'extents'],
  METADATA_COPY_DAMAGED: ['warning', 'metadata'],
  METADATA_DAMAGED: ['fatal', 'metadata'],
  METADATA_COUNT_WRONG: ['error', 'metadata'],
  EXTENTS_LEAKED: ['warning', 'extents'],
  EXTENTS_NOT_TAKEN: ['error', 'extents'],
  EXTENTS_COUNT_WRONG: ['error', 'extents'],
  EXTENTS_USED_TWICE: ['fatal', 'extents'],
  JOURNAL_WRONG: ['error', 'extents'],
  TRANSACTIONS_WRONG: ['error', 'extents'],
  MAPS_WRONG: ['error', 'extents'],
  NAMES_WRONG: ['error', 'extents'],
  TRANSACTIONS_UNFINISHED: ['error', 'extents'],
  SNAPSHOT_LIST_DAMAGED: ['error', 'snapshot'],
  SNAPSHOT_UNUSABLE: ['warning', 'snapshot'],
  SNAPSHOT_DAMAGED: ['error', 'snapshot'],
} as const satisfies Readonly<Record<string, readonly [Severity, Layer]>>;

export type FindingCode = keyof typeof CODES;

export const FINDING_CODES = Object.keys(CODES) as FindingCode[];

export function severityOf(code: FindingCode): Severity {
  return CODES[code][0];
}

/** Where it is; what does not apply is absent. */
export interface Where {
  readonly image?: string;
  readonly offsetBytes?: number;
  readonly lengthBytes?: number;
  readonly slot?: number;
  /** The first of `stripes`. */
  readonly stripe?: number;
  readonly stripes?: number;
}

export interface Finding {
  readonly code: FindingCode;
  readonly severity: Severity;
  readonly layer: Layer;
  readonly where: Where;
  /** For people: what was found. */
  readonly message: string;
  /** What people can do, where fsck does not do it. */
  readonly hint: string;
  /** Of a set that is refused: which of the reasons of judge-refusals.ts. Of metadata: what of it is wrong. */
  readonly reason?: string;
  /** null: nothing that is certainly right can be done. */
  readonly repair: RepairName | null;
}

export function finding(
  code: FindingCode,
  where: Where,
  message: string,
  more: { hint?: string; repair?: RepairName | null; reason?: string } = {},
): Finding {
  const [severity, layer] = CODES[code];
  const { hint = '', repair = null, reason } = more;
  return { code, severity, layer, where, message, hint, repair, ...(reason === undefined ? {} : { reason }) };
}

/** Two looks have found the same if these are equal. */
export function keyOf({ code, where, reason }: Finding): string {
  return JSON.stringify([code, where.image, where.slot, where.stripe, where.offsetBytes, reason]);
}

/** A way to make something right. */
export interface Repair {
  readonly does: string;
  /** It loses nothing, whatever was meant: -p may do it. */
  readonly isSafe: boolean;
  /** '' where it is nothing. */
  readonly loses: string;
  /** --force is wanted as well: it starts what is refused otherwise. */
  readonly wantsForce: boolean;
}

/** In the order in which they are done. */
export const REPAIRS = {
  'restore-superblock': {
    does: 'write the superblock that it was: its own checksum proves it',
    isSafe: true,
    loses: '',
    wantsForce: false,
  },
  recover: {
    does: 'make parity anew where it may be wrong, from the data, and close the array',
    isSafe: true,
    loses: '',
    wantsForce: false,
  },
  'start-degraded': {
    does: 'take what the other members make of it for true, and close the array',
    isSafe: false,
    loses: 'what the missing member held in the dirty stripes: neither old nor new content may be left of it',
    wantsForce: true,
  },
  'finish-rebuild': {
    does: 'go on with the rebuild from where it stopped',
    isSafe: true,
    loses: '',
    wantsForce: false,
  },
  'write-metadata': {
    does: 'write superblocks, bitmap and logs anew on all members, as the array has them',
    isSafe: true,
    loses: '',
    wantsForce: false,
  },
  'make-parity': {
    does: 'make parity anew from the data',
    isSafe: false,
    loses:
      'if it was data that rotted and not parity, the parity that still knew the old data: which of the two is wrong cannot be told',
    wantsForce: false,
  },
  'mend-metadata': {
    does: 'write the damaged copies anew from the good ones beside them, and count the pages of the metadata again',
    isSafe: true,
    loses: '',
    wantsForce: false,
  },
  'rebuild-indexes': {
    does: 'make free space, counts, names, places of journal extents and parts of transactions anew from what says the same',
    isSafe: true,
    loses: '',
    wantsForce: false,
  },
  'separate-extents': {
    does: 'copy extents that are in two places, so that each has one of its own',
    isSafe: true,
    loses: '',
    wantsForce: false,
  },
  'complete-transactions': {
    does: 'complete what was committed',
    isSafe: true,
    loses: '',
    wantsForce: false,
  },
} as const satisfies Readonly<Record<string, Repair>>;

export type RepairName = keyof typeof REPAIRS;

export const REPAIR_NAMES = Object.keys(REPAIRS) as RepairName[];

export function repairOf(name: RepairName): Repair {
  return REPAIRS[name];
}
