/**
 * What `create` asks where it was told nothing: each answer is read by the same parser as its flag, and what
 * a flag said already is not asked.
 */

import { UserError } from '../errors.js';
import { LAYOUTS } from '../raid/geometry.js';
import { askChoice, askText } from './prompts.js';
import { parseSize } from './sizes.js';

export interface NewVolume {
  readonly members?: number | undefined;
  /** Bytes. */
  readonly size?: number | undefined;
  readonly chunk?: number | undefined;
  readonly layout?: string | undefined;
}

/** Asks for what `given` does not say. Only where somebody can answer. */
export async function askNewVolume(given: NewVolume, signal: AbortSignal): Promise<NewVolume> {
  const members =
    given.members ??
    (await askText({ message: 'How many images? (1: no RAID)', default: '4', parse: parseMembers }, signal));
  const size =
    given.size ?? (await askText({ message: 'Usable size?', default: '1GiB', parse: parseSize }, signal));
  if (members === 1) return { ...given, members, size };
  const chunk =
    given.chunk ?? (await askText({ message: 'Chunk?', default: '64KiB', parse: parseSize }, signal));
  const choices = LAYOUTS.map((name) => ({ name, value: name }));
  const layout = given.layout ?? (await askChoice('Layout?', choices, signal, 'left-symmetric'));
  return { members, size, chunk, layout };
}

function parseMembers(answer: string): number {
  const members = /^\d{1,2}$/.test(answer) ? Number(answer) : 0;
  if (members === 1 || (members >= 3 && members <= 64)) return members;
  throw new UserError('USAGE', 'RAID-5 has 3 to 64 members; 1 makes a plain image');
}
