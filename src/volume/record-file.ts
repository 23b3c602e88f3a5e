/**
 * A dirty-stripe record in a file of its own, on another disk than the members or where they have no room for it.
 * Without it a volume that was not closed is resynced whole, and ranges that were in doubt are forgotten.
 *
 * Who only looks or reads goes on without a file that cannot be used, and says so. Who writes is refused: what the file
 * holds is not ours to overwrite. One that is not there is made.
 */
import { isAbsolute, join } from 'node:path';
import type { BlockDevice } from '../device/contract.js';
import { DeviceError } from '../device/contract.js';
import { openImage } from '../device/open-image.js';
import { UserError } from '../errors.js';
import { examineImage } from '../raid/md/examine.js';
import type { Judgement, Superblock } from '../raid/md/model.js';
import { setUuidBytes } from '../raid/md/uuid.js';
import { fileBytes, filePlaces, RECORD_COPIES, readPlace } from '../raid/record/index.js';
import { firstContent } from './blank.js';
import type { Located } from './locate.js';
import type { OpenVolumeOptions } from './model.js';

type Options = Pick<OpenVolumeOptions, 'access' | 'record' | 'warn'>;

/** Why the file cannot be used. */
export interface RecordFileTrouble {
  /** `unusable`: it is there, and holds something else, or cannot be read. */
  readonly kind: 'absent' | 'unusable';
  readonly image: string;
  /** Where it shows; undefined: nowhere in particular. */
  readonly offsetBytes: number | undefined;
  readonly reason: string;
  readonly hint: string;
  /** For who cannot go on without it. */
  readonly error: UserError;
}

export interface RecordFileLook {
  /** null: the record is to be on the members. */
  readonly path: string | null;
  /** Open for reading, without a lock. */
  readonly file: BlockDevice | null;
  readonly trouble: RecordFileTrouble | null;
}

const ABSENT_HINT =
  'bring it back, or name it with --record; the next command that writes makes a new one in its place';
const UNUSABLE_HINT =
  'name the file that the record was kept in (--record), or one that is not there yet, which is made; or move this one away';

/** Where the record is to be, if not on the members. */
export function recordPath({ manifest, directory }: Located, named: string | undefined): string | null {
  if (named !== undefined) return named;
  const path = manifest?.record;
  if (path === undefined) return null;
  return isAbsolute(path) || directory === null ? path : join(directory, path);
}

/** For who looks or reads: what is wrong with the file is told, and nothing is thrown that a user could act on. */
export async function lookAtRecordFile(
  located: Located,
  { freshest }: Judgement,
  named: string | undefined,
): Promise<RecordFileLook> {
  const path = recordPath(located, named);
  if (path === null || freshest === null) return { path: null, file: null, trouble: null };
  const found = await openChecked(path, freshest, { readOnly: true, lock: false }).catch((error: unknown) => {
    if (!(error instanceof UserError)) throw error;
    return troubleOf(path, error);
  });
  return 'error' in found ? { path, file: null, trouble: found } : { path, file: found, trouble: null };
}

/** For people. */
export function describeTrouble({ kind, image, reason }: RecordFileTrouble): string {
  const what = kind === 'absent' ? 'is not there' : `cannot be used: ${reason}`;
  return `the record file ${image} ${what}. If the volume was not closed, all of it is resynced, and what was in doubt is not known any more`;
}

/** null: there is none to be had, or the members have it. Who writes makes one that is not there. */
export async function openRecordFile(
  located: Located,
  judgement: Judgement,
  { access, record, warn }: Options,
): Promise<BlockDevice | null> {
  const { path, file, trouble } = await lookAtRecordFile(located, judgement, record);
  if (access === 'read' || path === null) {
    if (trouble !== null) warn(describeTrouble(trouble));
    return file;
  }
  const freshest = judgement.freshest!;
  if (trouble?.kind === 'unusable') throw trouble.error;
  if (trouble?.kind === 'absent') {
    warn(describeTrouble(trouble));
    return openImage(path, { readOnly: false, create: { size: fileBytes(freshest, RECORD_COPIES) } });
  }
  // Only now with its lock, which one of the volume's own images would have already; and it is looked at once more.
  await file?.close();
  const locked = await openChecked(path, freshest, { readOnly: false });
  if ('error' in locked) throw locked.error;
  return locked;
}

/** A file that holds anything but records of this array is not ours to overwrite. */
async function openChecked(
  path: string,
  superblock: Superblock,
  options: { readonly readOnly: boolean; readonly lock?: boolean },
): Promise<BlockDevice | RecordFileTrouble> {
  const file = await openImage(path, options);
  try {
    const wrong = await whatElse(file, superblock);
    if (wrong === null) return file;
    await file.close();
    return notARecord(path, wrong);
  } catch (error) {
    await file.close();
    throw error;
  }
}

interface Wrong {
  readonly offsetBytes: number;
  readonly why: string;
}

/** null: it is blank, or holds records of this array. */
async function whatElse(file: BlockDevice, superblock: Superblock): Promise<Wrong | null> {
  const { superblocks, damaged } = await examineImage(file);
  const [member] = [...superblocks, ...damaged];
  if (member !== undefined)
    return { offsetBytes: member.superOffset, why: 'it is an image with an md superblock' };
  const size = fileBytes(superblock, RECORD_COPIES);
  if (file.size < size)
    return { offsetBytes: file.size, why: `it is too short: ${size} bytes are needed, and it ends` };
  const uuid = setUuidBytes(superblock);
  const places = filePlaces(file, superblock, RECORD_COPIES);
  const found = (await Promise.all(places.map((place) => readPlace(place, uuid)))).flat();
  if (found.some(({ record }) => record !== null)) return null;
  const offsetBytes = await firstContent(file);
  return offsetBytes === null ? null : { offsetBytes, why: 'it holds something else' };
}

function notARecord(image: string, { offsetBytes, why }: Wrong): RecordFileTrouble {
  const reason = `${why} at byte ${offsetBytes}`;
  const error = new UserError('REFUSED', `${image} is no record of this volume: ${reason}`, {
    hint: UNUSABLE_HINT,
    details: { image, offsetBytes },
  });
  return { kind: 'unusable', image, offsetBytes, reason, hint: UNUSABLE_HINT, error };
}

/** What the operating system says keeps its code: a file that may not be read is no other file. */
function troubleOf(image: string, cause: UserError): RecordFileTrouble {
  const isAbsent = cause instanceof DeviceError && cause.code === 'VOLUME_NOT_FOUND';
  const hint = isAbsent ? ABSENT_HINT : (cause.hint ?? UNUSABLE_HINT);
  return {
    kind: isAbsent ? 'absent' : 'unusable',
    image,
    offsetBytes: cause instanceof DeviceError ? cause.fault.offset : undefined,
    reason: isAbsent ? 'it is not there' : cause.message,
    hint,
    error: new UserError(cause.code, cause.message, { hint, details: cause.details, cause }),
  };
}
