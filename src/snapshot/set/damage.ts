/** What is not as it was written, named: the file, and the place in it. */
import { type ErrorCode, UserError } from '../../errors.js';

const DAMAGE: readonly ErrorCode[] = ['METADATA_DAMAGED', 'DATA_UNAVAILABLE'];

export function isDamage(error: unknown): error is UserError {
  return error instanceof UserError && DAMAGE.includes(error.code);
}

/** Of a file that tells what the rest is. */
export function damagedFile(file: string, why: string, cause?: unknown): UserError {
  return new UserError('METADATA_DAMAGED', `${file} is damaged: ${why}`, {
    hint: 'Bring the file back from a copy of the set; or use a backup that does not build on this one.',
    details: { file },
    cause,
  });
}

export interface PiecePlace {
  /** `data` of the backup that has it. */
  readonly file: string;
  readonly fileOffset: number;
  /** Bytes of the volume. */
  readonly offset: number;
  readonly length: number;
}

export function damagedPiece(
  { file, fileOffset, offset, length }: PiecePlace,
  why: string,
  cause?: unknown,
): UserError {
  return new UserError(
    'DATA_UNAVAILABLE',
    `${file}: the piece at ${fileOffset} (${length} bytes at offset ${offset} of the volume) ${why}`,
    {
      hint: 'holdfast backup verify tells what else is damaged; a backup that does not build on this one may have it.',
      details: { file, fileOffsetBytes: fileOffset, offsetBytes: offset, lengthBytes: length },
      cause,
    },
  );
}

/** A file of a good backup that is not all there. */
export function lostFile(file: string, why: string, cause?: unknown): UserError {
  return new UserError('DATA_UNAVAILABLE', `${file} ${why}`, {
    hint: 'Bring the file back from a copy of the set; or use a backup that does not build on this one.',
    details: { file },
    cause,
  });
}
