/** `--role NAME:OFFSET+LENGTH`, of the commands that tell roles of writes. */
import * as Flags from '@oclif/core/flags';
import { UserError } from '../errors.js';
import type { NamedRange } from '../lab/volume/trace-roles.js';
import { parseRange } from './sizes.js';

export const roleFlag = Flags.custom<NamedRange>({
  multiple: true,
  helpValue: 'NAME:OFFSET+LENGTH',
  description:
    'a range of the disk that has a role of its own, such as log:0+1MiB; may be given several times',
  parse: async (input, _context, { name }) => {
    const at = input.indexOf(':');
    const range = at < 1 ? null : parseRange(input.slice(at + 1));
    if (range === null)
      throw new UserError('USAGE', `--${name} cannot be "${input}"`, {
        hint: 'It is written like log:0+1MiB: a name, an offset and a length.',
      });
    return { role: input.slice(0, at), ...range };
  },
});
