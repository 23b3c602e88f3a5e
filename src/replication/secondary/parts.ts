/** What a secondary consists of, made and looked at. The caller opens the files, of full size, and closes them. */

import type { BlockDevice } from '../../device/contract.js';
import { UserError } from '../../errors.js';
import { sameBytes } from '../checked-values.js';
import { SECTOR_BYTES } from '../file-header.js';
import { headerSlots, type LogHeader, ringBytesOf } from './log-header.js';
import { type Generation, type Marks, MarksFile, newId, type SecondaryState } from './marks.js';
import { damage, SLOTS_BYTES } from './slots.js';

export interface SecondaryParts {
  readonly image: BlockDevice;
  /** The epoch log. */
  readonly epochs: BlockDevice;
  /** The container of what a resync overwrites. */
  readonly kept: BlockDevice;
  readonly marks: BlockDevice;
}

/** The smallest log: an epoch of one write of 4 KiB, and one that is applied meanwhile. */
const LEAST_LOG_BYTES = SLOTS_BYTES + 4 * 8192;

export const NO_GENERATION: Generation = { number: 0, id: new Uint8Array(16) };

/** 16 bytes of nothing: nothing is kept. */
export const NOTHING_KEPT = new Uint8Array(16);

export interface NewSecondary {
  /** 16 bytes. */
  readonly volumeUuid: Uint8Array;
  /** 16 bytes. */
  readonly replicaUuid: Uint8Array;
  /** Bytes that are replicated, whole sectors; the image may be larger. */
  readonly sizeBytes: number;
  readonly generation: Generation;
  /** `consistent` only where the image is as the primary is; else `initial`. */
  readonly state: Extract<SecondaryState, 'initial' | 'consistent'>;
  /** Milliseconds since 1970, of the moment that the image is; only where it is one. */
  readonly atMs?: number;
}

/** Makes log and marks; the marks last, for they make it a secondary. Throws OUT_OF_RANGE where something is too small. */
export async function createSecondary(
  parts: SecondaryParts,
  { atMs = 0, ...made }: NewSecondary,
): Promise<void> {
  const { image, epochs } = parts;
  if (made.sizeBytes % SECTOR_BYTES !== 0 || made.sizeBytes > image.size)
    throw tooSmall(image, `it has ${image.size} bytes, and ${made.sizeBytes} are to be replicated to it`);
  if (epochs.size < LEAST_LOG_BYTES)
    throw tooSmall(epochs, `an epoch log of ${epochs.size} bytes; ${LEAST_LOG_BYTES} is the least`);
  const header: LogHeader = {
    sequence: 1,
    logId: newId(),
    replicaUuid: made.replicaUuid,
    ringBytes: ringBytesOf(epochs),
    tail: 0,
    applied: { epoch: 0, atMs },
    keptId: NOTHING_KEPT,
    keptGroups: 0,
    unknownRoCompat: 0,
  };
  await headerSlots(epochs).putBoth(header);
  const marks: Marks = {
    ...made,
    sequence: 1,
    parent: NO_GENERATION,
    point: { epoch: 0, atMs },
    keptId: NOTHING_KEPT,
    isKeptWhole: false,
    isForced: false,
    unknownRoCompat: 0,
  };
  await MarksFile.create(parts.marks, marks);
}

/** The header, and that it is of this secondary. */
export async function readHeader({ epochs }: SecondaryParts, marks: Marks): Promise<LogHeader> {
  const { value } = await headerSlots(epochs).read();
  if (sameBytes(value.replicaUuid, marks.replicaUuid)) return value;
  throw damage(epochs, 0, 'the epoch log is of another secondary');
}

/** Throws METADATA_DAMAGED where the image is shorter than the marks say, UNSUPPORTED where it may only be read. */
export function checkMarks({ image, marks: device }: SecondaryParts, marks: Marks, readOnly: boolean): void {
  if (image.size < marks.sizeBytes || marks.sizeBytes % SECTOR_BYTES !== 0)
    throw damage(image, image.size, `it has ${image.size} bytes, and its marks say ${marks.sizeBytes}`);
  if (!readOnly && marks.unknownRoCompat !== 0) {
    const bits = `ro_compat 0x${marks.unknownRoCompat.toString(16)}`;
    throw new UserError(
      'UNSUPPORTED',
      `${device.name}: its marks have features that are not known here (${bits})`,
      {
        hint: 'Open it read only, or use the holdfast that wrote it.',
      },
    );
  }
}

function tooSmall(device: BlockDevice, why: string): UserError {
  return new UserError('OUT_OF_RANGE', `${device.name}: ${why}`, { details: { image: device.name } });
}
