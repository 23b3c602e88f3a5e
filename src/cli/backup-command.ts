/** What the commands on backups share: their volume, and how a container is named. */
import { resolve } from 'node:path';
import * as Args from '@oclif/core/args';
import { UserError } from '../errors.js';
import type { ContainerChoice } from '../volume/index.js';
import { parseSize } from './sizes.js';

export const backupVolumeArgument = Args.string({
  name: 'volume',
  required: true,
  ignoreStdin: true,
  description: 'directory of a volume, its image, or an NBD URI',
});

const RANGE = /^range:([^+]+)\+([^+]+)$/;

/** @throws UserError USAGE for a range that is none. */
export function parseContainer(text: string | undefined): ContainerChoice {
  if (text === undefined) return { kind: 'beside' };
  if (text === 'memory' || text === 'none') return { kind: text };
  if (!text.startsWith('range:')) return { kind: 'file', path: resolve(text) };
  const match = RANGE.exec(text);
  if (match === null) {
    throw new UserError('USAGE', `"${text}" is no range of the volume`, {
      hint: 'It is written like range:1GiB+64MiB: its offset and its length.',
    });
  }
  return { kind: 'range', offset: parseSize(match[1]!), length: parseSize(match[2]!) };
}
