/** What the commands on backup sets share. */
import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { UserError } from '../errors.js';
import { COMMON_EXIT_CODES } from './exit-codes.js';

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
