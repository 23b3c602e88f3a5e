/** What the commands on backups share: a volume, a set, and how a container is named. */
import { resolve } from 'node:path';
import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { UserError } from '../errors.js';
import type { ContainerChoice } from '../volume/index.js';
import { COMMON_EXIT_CODES } from './exit-codes.js';
import { parseRange } from './sizes.js';

export const setArgument = Args.string({
  name: 'set',
  required: true,
  ignoreStdin: true,
  description: 'directory of the backup set',
});

export const BACKUP_EXIT_CODES: Readonly<Record<string, string>> = {
  ...COMMON_EXIT_CODES,
  '10': 'no such set or backup',
};

/** A share, in percent. */
export const percentFlag = Flags.custom<number>({
  helpValue: 'N%',
  parse: async (input, _context, { name }) => {
    const percent = /^\d{1,3}(\.\d{1,6})?%?$/.test(input) ? Number.parseFloat(input) : Number.NaN;
    if (percent > 0 && percent <= 100) return percent;
    throw new UserError('USAGE', `--${name} cannot be "${input}": it is a share above 0% and up to 100%`);
  },
});

export const backupVolumeArgument = Args.string({
  name: 'volume',
  required: true,
  ignoreStdin: true,
  description: 'directory of a volume, its image, or an NBD URI',
});

const RANGE = 'range:';

/** @throws UserError USAGE for a range that is none. */
export function parseContainer(text: string | undefined): ContainerChoice {
  if (text === undefined) return { kind: 'beside' };
  if (text === 'memory' || text === 'none') return { kind: text };
  if (!text.startsWith(RANGE)) return { kind: 'file', path: resolve(text) };
  const range = parseRange(text.slice(RANGE.length));
  if (range === null) {
    throw new UserError('USAGE', `"${text}" is no range of the volume`, {
      hint: 'It is written like range:1GiB+64MiB: its offset and its length.',
    });
  }
  return { kind: 'range', ...range };
}
