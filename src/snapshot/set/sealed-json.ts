/**
 * JSON files with a checksum: a bit that has turned over in a name or a number would else be believed. They stay files that
 * people can read: `checksum` is the SHA-256 of all other fields, in the order in which they stand, without white space.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { fileError, systemCode } from '../../device/device-errors.js';
import { UserError } from '../../errors.js';
import { damagedFile } from './damage.js';

/** 16 bytes. */
export const hexId = z.string().regex(/^[0-9a-f]{32}$/);
/** SHA-256. */
export const hexHash = z.string().regex(/^[0-9a-f]{64}$/);

export const FORMAT_VERSION = 1;

/** `content` with its checksum. */
export function sealed(content: object): object {
  return { ...content, checksum: checksumOf(content) };
}

/** null: there is none. @throws UserError METADATA_DAMAGED; UNSUPPORTED (a later holdfast made it). */
export async function readSealed<T>(path: string, schema: z.ZodType<T>): Promise<T | null> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw fileError(path, 'read', error);
  }
  return unsealed(path, text, schema);
}

export function unsealed<T>(path: string, text: string, schema: z.ZodType<T>): T {
  const { checksum, ...content } = parsed(path, text);
  if (checksum !== checksumOf(content)) throw damagedFile(path, 'its checksum is wrong');
  const { formatVersion } = content;
  if (typeof formatVersion === 'number' && formatVersion > FORMAT_VERSION)
    throw new UserError('UNSUPPORTED', `${path} is of a later holdfast: version ${formatVersion}`, {
      hint: 'Use the holdfast that made it.',
      details: { file: path },
    });
  const found = schema.safeParse(content);
  if (found.success) return found.data;
  throw damagedFile(path, z.prettifyError(found.error), found.error);
}

function parsed(path: string, text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw damagedFile(path, error instanceof Error ? error.message : String(error), error);
  }
  if (typeof value !== 'object' || value === null) throw damagedFile(path, 'it is no object');
  return { ...value };
}

function checksumOf(content: object): string {
  return createHash('sha256').update(JSON.stringify(content)).digest('hex');
}
