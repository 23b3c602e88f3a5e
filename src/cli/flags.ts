/**
 * Flags and arguments that several commands share, so that they are spelled, parsed and explained alike.
 *
 * - Arguments never read standard input (oclif does by default): it belongs to `--input -`.
 * - A flag that may be given several times takes one value each time, so that it never swallows VOLUME.
 */
import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { UserError } from '../errors.js';
import { formatSize, parseSize } from './sizes.js';

export type SizeLimits = {
  /** Bytes. */
  min?: number;
  max?: number;
};

/** A flag whose value is a size or offset, given in bytes to the command. */
export const sizeFlag = Flags.custom<number, SizeLimits>({
  helpValue: 'SIZE',
  parse: async (input, _context, { min = 0, max, name }) => {
    const bytes = parseSize(input);
    if (bytes < min)
      throw new UserError('USAGE', `--${name} is ${formatSize(bytes)}: at least ${formatSize(min)}`);
    if (max !== undefined && bytes > max) {
      throw new UserError('USAGE', `--${name} is ${formatSize(bytes)}: at most ${formatSize(max)}`);
    }
    return bytes;
  },
});

export const jsonFlag = Flags.boolean({
  description: 'print one JSON object, errors included',
  helpGroup: 'GLOBAL',
});

export const yesFlag = Flags.boolean({ char: 'y', description: 'do it without asking' });

export const dryRunFlag = Flags.boolean({ description: 'say what would be done, and do nothing' });

/** `--force` overrides the safety check that `what` names. It never counts as a yes. */
export function forceFlag(what: string) {
  return Flags.boolean({ description: what });
}

/** A whole number, for counts and slots. */
export const countFlag = Flags.custom<number, { min?: number; max?: number }>({
  helpValue: 'N',
  parse: async (input, _context, { min = 0, max = Number.MAX_SAFE_INTEGER, name }) => {
    const count = /^\d{1,15}$/.test(input) ? Number(input) : Number.NaN;
    if (!(count >= min && count <= max)) {
      const range = max === Number.MAX_SAFE_INTEGER ? `from ${min}` : `from ${min} to ${max}`;
      throw new UserError('USAGE', `--${name} cannot be "${input}": it is a whole number ${range}`);
    }
    return count;
  },
});

export const asRawFlag = Flags.boolean({
  description: 'take an image that has a superblock as it is, byte for byte',
});

/** Where the dirty-stripe record is kept. */
export const recordFlag = Flags.string({
  helpValue: 'FILE',
  description: 'the dirty-stripe record is kept in this file, not on the members',
});

const slot = { max: 63, description: 'slot of the member, counted from 0' };

export const slotFlag = countFlag(slot);

export const requiredSlotFlag = countFlag({ ...slot, required: true });

/** The images of members, each by a flag of its own. */
export const imagesFlag = Flags.string({
  multiple: true,
  multipleNonGreedy: true,
  helpValue: 'FILE',
  description: 'image of a member (repeat it for each)',
});

export const newVolumeArgument = Args.string({
  name: 'volume',
  required: true,
  ignoreStdin: true,
  description: 'directory of the new volume; it is made if it is not there',
});

/** A volume that may also be given by the images of its members, in any order. */
export const volumesArgument = Args.string({
  name: 'volume',
  required: true,
  multiple: true,
  ignoreStdin: true,
  description: "directory of a volume, an image, an NBD URI, or the members' images in any order",
});

export const imagesArgument = Args.string({
  name: 'image',
  required: true,
  multiple: true,
  ignoreStdin: true,
  description: 'images to look at',
});
