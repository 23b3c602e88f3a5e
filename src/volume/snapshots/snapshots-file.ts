/**
 * The list of a volume's moments: one JSON file, replaced as a whole. It says for which state of the volume it is: what somebody else
 * has overwritten is kept nowhere.
 *
 * While the volume is open for writing it says so (`isOpen`), durably, before anything is written, and by which stamps that opening is
 * known (`openingTag`); when it is closed it has the stamp of its end.
 */
import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { replaceJson } from '../../device/replace-json.js';
import { BLOCK_BYTES } from '../../replication/blocks.js';
import { readCheckedJson } from '../checked-json.js';
import { hex } from '../replication/replicas-file.js';
import { rangeOfPlace, type VolumeRange } from './places.js';
import { stampSchema, type VolumeStamp, whyVoid } from './stamp.js';

const placeSchema = z
  .string()
  .refine((place) => place === '' || isAbsolute(place) || rangeOfPlace(place) !== null, 'it is no place');

const layerSchema = z.object({ id: hex, groups: z.number().int().nonnegative(), place: placeSchema });

const blocks = z.number().int().nonnegative().multipleOf(BLOCK_BYTES);

const rangeSchema = z.object({ offset: blocks, length: blocks.positive() });

const momentSchema = z.object({
  name: z.string().min(1),
  id: hex,
  kind: z.enum(['snapshot', 'mark']),
  createdMs: z.number().int().nonnegative(),
  onOverflow: z.enum(['grow', 'throttle', 'drop', 'fail']),
  layers: z.array(layerSchema),
  unusable: z.string().nullable(),
});

const listSchema = z.object({
  formatVersion: z.literal(1),
  sizeBytes: z.number().int().positive(),
  stamp: stampSchema,
  openingTag: z.string().regex(/^[0-9a-f]{8}$/),
  /** Somebody of ours has it open for writing, or was cut. */
  isOpen: z.boolean(),
  moments: z.array(momentSchema),
  /** Of the volume: containers, or they were, and may not be zeroes yet. Lists without it are older than that. */
  ranges: z.array(rangeSchema).default([]),
});

const schema = listSchema
  .refine(
    ({ sizeBytes, ranges }) => ranges.every((range) => endOf(range) <= sizeBytes),
    'a range is not within the volume',
  )
  .refine(({ ranges }) => {
    const sorted = ranges.toSorted((a, b) => a.offset - b.offset);
    return sorted.every((range, at) => at === 0 || endOf(sorted[at - 1]!) <= range.offset);
  }, 'ranges overlap');

function endOf({ offset, length }: VolumeRange): number {
  return offset + length;
}

export type SnapshotsContent = z.infer<typeof schema>;

/** Throws METADATA_DAMAGED where it cannot be understood. */
export function readSnapshots(path: string): Promise<SnapshotsContent> {
  return readCheckedJson(path, schema, {
    what: 'a list of snapshots',
    hint: 'Put it back as it was; or move its folder away: then the volume has no snapshots.',
  });
}

export async function writeSnapshots(path: string, content: SnapshotsContent): Promise<void> {
  await replaceJson(path, content);
}

/** As it may be trusted, of the volume as it is found. */
export function judged(
  content: SnapshotsContent,
  found: VolumeStamp,
  sizeBytes: number,
): Pick<SnapshotsContent, 'moments' | 'ranges'> {
  const why =
    content.sizeBytes === sizeBytes
      ? whyVoid(content, found)
      : `the volume had ${content.sizeBytes} bytes, and has ${sizeBytes}`;
  if (why !== null) return allVoided(content, why);
  // Nobody can tell whether another program has written to it between the crash and now. Of a mark a comparison is as good, and sure.
  const isGuess = content.isOpen && found.kind === 'image';
  const { moments, ranges } = content;
  return { moments: isGuess ? voided(moments, 'the image was not closed', ['mark']) : moments, ranges };
}

/** The ranges may be somebody's by now: they are left as they are. */
export function allVoided(
  { moments }: Pick<SnapshotsContent, 'moments'>,
  why: string,
): Pick<SnapshotsContent, 'moments' | 'ranges'> {
  return { moments: voided(moments, why), ranges: [] };
}

/** All of these kinds are unusable, and have no layers. */
function voided(
  moments: SnapshotsContent['moments'],
  why: string,
  kinds: readonly ('snapshot' | 'mark')[] = ['snapshot', 'mark'],
): SnapshotsContent['moments'] {
  return moments.map((moment) =>
    kinds.includes(moment.kind) ? { ...moment, layers: [], unusable: moment.unusable ?? why } : moment,
  );
}
