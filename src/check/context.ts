/**
 * What checkers look at: a volume's images as they were found, the verdict over them, and the array, open for reading,
 * where it can be opened. Nothing of it writes.
 */
import { type BlockDevice, DeviceError } from '../device/contract.js';
import type { UserError } from '../errors.js';
import type { RaidArray } from '../raid/array.js';
import type { ExaminedImage, JudgedMember, Judgement, Superblock } from '../raid/md/model.js';
import type { ScrubOptions } from '../raid/scrub.js';
import { type Finding, finding } from './findings.js';

export interface CheckedImage extends ExaminedImage {
  /** Bytes of the file, which need not be whole sectors. */
  readonly fileBytes: number;
  /** What it was made with, of a single image whose manifest says so. */
  readonly madeBytes: number | null;
  /** The manifest names it. */
  readonly isExpected: boolean;
}

export interface CheckContext {
  readonly label: string;
  readonly images: readonly CheckedImage[];
  /** Named by the manifest and not there: path and why. */
  readonly absent: ReadonlyMap<string, string>;
  /** null for a single image. */
  readonly judgement: Judgement | null;
  /** null where there is none, or none that can be opened. */
  readonly array: RaidArray | null;
  /** Why it cannot be opened, beyond what the verdict refuses. */
  readonly openFailure: UserError | null;
  /** Damaged superblocks of which it can be proven what they were, by image. */
  readonly restorable: ReadonlyMap<string, Superblock>;
  /** Why the file that the dirty-stripe record is kept in cannot be had; null: it can, or there is none. */
  readonly recordTrouble: RecordTrouble | null;
  /** What was found in a volume of files; null: it is raw, or there is nothing to look into. */
  readonly files: CheckedFiles | null;
  /** null: it has none, or there is nothing that they could be of. */
  readonly snapshots: CheckedSnapshots | null;
  /** Data is to be read as well: all of it, or some rows. */
  readonly scrub: ScrubOptions | null;
}

export interface RecordTrouble {
  /** `unusable`: it is there, and holds something else, or cannot be read. Nothing that writes goes on with it. */
  readonly kind: 'absent' | 'unusable';
  readonly image: string;
  readonly offsetBytes: number | undefined;
  readonly reason: string;
  readonly hint: string;
}

/** What lies in a volume of the format extents, as its own layers have checked it. */
export interface CheckedFiles {
  /** What keeps it from being looked into, or from being looked into further. */
  readonly trouble: UserError | null;
  /** Copies of superblocks that are no good, beside good ones. */
  readonly copies: readonly { readonly image: string; readonly offsetBytes: number; readonly why: string }[];
  /** Of the metadata engine. `isCopy`: the other half has it whole. */
  readonly engine: readonly EngineTrouble[];
  /** Of what the metadata server keeps, by its own codes. */
  readonly state: readonly { readonly code: string; readonly message: string }[];
  /** With the repairs that there are for it nothing of that would be wrong any more. */
  readonly isMendable: boolean;
  /** Transactions that are hardened and not done. */
  readonly unfinished: number;
}

/** What is kept of a volume's moments, as its own layer has checked it. */
export interface CheckedSnapshots {
  /** Why the list of them cannot be understood. */
  readonly trouble: UserError | null;
  /** By their own word, or by what the volume is now. */
  readonly unusable: readonly { readonly name: string; readonly why: string }[];
  /** Blocks of good ones that are not what was kept; where data is read. */
  readonly damaged: readonly UserError[];
}

export interface EngineTrouble {
  readonly code: string;
  readonly kind: 'copy' | 'count' | 'damage';
  readonly image: string;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly message: string;
}

export type Checker = (context: CheckContext) => AsyncIterable<Finding>;

export interface CurrentMember extends JudgedMember {
  readonly device: BlockDevice;
  readonly superblock: Superblock;
}

/** Members that serve: those in slots, and what is about to replace them. */
export function currentMembers({ judgement }: CheckContext): CurrentMember[] {
  if (judgement === null) return [];
  return [...judgement.slots, ...judgement.replacements].filter(
    (member): member is CurrentMember =>
      member !== null && member.device !== null && member.superblock !== null,
  );
}

/**
 * Whether rows may be wrong that nobody has dealt with: the dirty-stripe record says it, where one counts; else the
 * superblocks do.
 */
export function isDirty({ judgement, array }: CheckContext): boolean {
  if (array !== null && array.record.chosen.record !== null) return !array.core.isRecovered;
  return judgement?.set?.resyncOffset !== null && judgement?.set !== null && judgement !== null;
}

/** Whether the array may be written, by what its images and its record say. */
export function mayWrite({ judgement, array, recordTrouble }: CheckContext): boolean {
  if (recordTrouble?.kind === 'unusable') return false;
  if (array !== null && array.record.chosen.unknownRoCompat !== 0) return false;
  return judgement !== null && array !== null && judgement.refusals.length === 0;
}

/**
 * Whether metadata may be written without a loss: no slot lacks its member. With one missing the first write would
 * put it out for good, and it may only have been left out of the command.
 */
export function isWhole(context: CheckContext): boolean {
  return mayWrite(context) && context.judgement!.slots.every((slot) => slot.state === 'in-sync');
}

/** Reads something of an image; what cannot be read is a finding of its own. */
export async function readOr<T>(image: string, read: () => Promise<T>): Promise<T | Finding> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof DeviceError) || error.code !== 'IO_ERROR') throw error;
    const { offset, length } = error.fault;
    return finding(
      'IMAGE_UNREADABLE',
      {
        image,
        ...(offset === undefined ? {} : { offsetBytes: offset }),
        ...(length === undefined ? {} : { lengthBytes: length }),
      },
      error.message,
      { hint: 'copy what can be read to a good disk, or rebuild the slot on another image' },
    );
  }
}

export function isFinding(found: unknown): found is Finding {
  return typeof found === 'object' && found !== null && 'severity' in found;
}
