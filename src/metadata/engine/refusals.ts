/** What the engine refuses, in words for the user. */
import { UserError } from '../../errors.js';
import type { EngineRange } from './layout.js';

export function noSpace(
  { device }: EngineRange,
  { pages, pagesUsed }: { pages: number; pagesUsed: number },
): UserError {
  return new UserError(
    'NO_SPACE',
    `${device.name}: the metadata is full: ${pagesUsed} of ${pages} pages are in use`,
    {
      hint: 'Remove files or snapshots: that is possible still.',
      details: { image: device.name, pages, pagesUsed },
    },
  );
}

export function readOnlyRefusal(
  { device, offset }: EngineRange,
  why = 'it was opened for reading',
): UserError {
  return new UserError(
    'PERMISSION_DENIED',
    `${device.name}: the metadata at offset ${offset} cannot be written: ${why}`,
    {
      details: { image: device.name, offsetBytes: offset },
    },
  );
}
