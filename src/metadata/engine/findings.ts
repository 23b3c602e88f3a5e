/**
 * What is found wrong with an engine on disk, as data: by whoever reads it in passing (a copy that had to be read from
 * the other half), and by the check of all of it (check-engine.ts).
 */
import { UserError } from '../../errors.js';
import type { EngineRange } from './layout.js';

/** Of `...COPY_DAMAGED` the other half has it whole; of the others nobody has. */
export type MetadataFindingCode =
  | 'HEADER_COPY_DAMAGED'
  | 'HEADER_DAMAGED'
  | 'ROOT_COPY_DAMAGED'
  | 'ROOT_DAMAGED'
  | 'ALLOCATION_COPY_DAMAGED'
  | 'ALLOCATION_DAMAGED'
  | 'LOG_COPY_DAMAGED'
  | 'LOG_DAMAGED'
  | 'PAGE_COPY_DAMAGED'
  | 'PAGE_DAMAGED'
  | 'KEY_OUT_OF_PLACE'
  | 'PAGE_LEAKED'
  | 'PAGE_MARKED_FREE'
  | 'PAGE_USED_TWICE'
  | 'COUNT_WRONG';

export interface MetadataFinding {
  readonly code: MetadataFindingCode;
  readonly image: string;
  /** Bytes of the image. */
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** For people: what was found. */
  readonly message: string;
}

/** Takes what was found in passing. */
export type Warn = (finding: MetadataFinding) => void;

/** Which of the two copies. */
export type Half = 'A' | 'B';

/** What is damaged in both halves: without it there is no going on. */
export function damaged({ device }: EngineRange, offsetBytes: number, what: string): UserError {
  return new UserError('METADATA_DAMAGED', `${device.name}: ${what} at offset ${offsetBytes}`, {
    hint: 'Put a good copy of the image in its place; fsck tells what else is damaged.',
    details: { image: device.name, offsetBytes },
  });
}
