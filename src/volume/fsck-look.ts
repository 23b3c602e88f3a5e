/**
 * Looks at a volume for fsck: opens what belongs to it, with locks that keep writers out and nobody else, has it
 * checked, and closes it. Not a byte is written.
 */

import { stat } from 'node:fs/promises';
import { checkVolume } from '../check/check-volume.js';
import type { CheckContext, CheckedImage } from '../check/context.js';
import type { Finding } from '../check/findings.js';
import { findRestorable } from '../check/restorable.js';
import type { BlockDevice } from '../device/contract.js';
import type { Range } from '../device/range-set.js';
import { UserError } from '../errors.js';
import type { RaidArray } from '../raid/array.js';
import type { ExaminedImage, Judgement, MetadataVersion, Superblock } from '../raid/md/model.js';
import { openArray } from '../raid/open.js';
import type { ScrubOptions } from '../raid/scrub.js';
import { lookIntoFiles } from './fsck-files.js';
import { lookIntoSnapshots } from './fsck-snapshots.js';
import { judgeImages, openImages } from './images.js';
import { assertHoldsVolume, type Located, locateVolume } from './locate.js';
import { lookAtRecordFile } from './record-file.js';
import { isRemote } from './remote.js';
import { isSingle } from './volume.js';

export interface LookOptions {
  /** Where the dirty-stripe record is kept, if not on the members. */
  readonly record?: string | undefined;
  /** Read data and check parity too, all or some rows; null: metadata alone. */
  readonly scrub: ScrubOptions | null;
  readonly warn: (message: string) => void;
}

export interface Looked {
  readonly label: string;
  /** Of the array, or of a single image by its manifest; null where no superblock counts. */
  readonly uuid: string | null;
  readonly version: MetadataVersion | null;
  readonly findings: readonly Finding[];
  /** Rows of each member's data whose parity may be wrong by the records. */
  readonly suspect: readonly Range[];
  /** Those of the findings that only reading data shows, and their rows; null: no data could be compared. */
  readonly scrubbed: readonly ScrubbedFinding[] | null;
}

/** Of a single image without a manifest: nothing says what volume it is. */
const NO_UUID = '00000000:00000000:00000000:00000000';

export interface ScrubbedFinding {
  readonly finding: Finding;
  readonly rows: Range;
}

export async function lookAt(args: readonly string[], options: LookOptions): Promise<Looked> {
  const located = await locateVolume(args);
  const opened = await openImages(await relevantPaths(located), located.expected, 'read');
  try {
    const { images, absent } = opened;
    const isOne = isSingle(located, images);
    const judgement = isOne ? null : judgeImages(located, images);
    const restorable =
      judgement === null ? new Map<string, Superblock>() : await findRestorable(images, judgement);
    const checked = await Promise.all(images.map((image) => withSizes(located, image)));
    const inside = await openInside(located, judgement, options);
    try {
      const device = isOne ? (images[0]?.device ?? null) : inside.found.array;
      const { scrub } = options;
      const snapshotsLook = (of: BlockDevice) => ({
        ...{ device: of, array: inside.found.array },
        ...{ isScrub: scrub !== null && scrub.rows === undefined, signal: scrub?.signal },
      });
      const context: CheckContext = {
        label: located.label,
        images: checked,
        absent,
        judgement,
        restorable,
        files: device === null ? null : await lookIntoFiles(located, device),
        snapshots: device === null ? null : await lookIntoSnapshots(located, snapshotsLook(device)),
        scrub: options.scrub,
        ...inside.found,
      };
      const findings = await checkVolume(context);
      return {
        label: located.label,
        uuid: judgement === null ? (located.manifest?.uuid ?? NO_UUID) : (judgement.set?.uuid ?? null),
        version: judgement?.set?.version ?? null,
        findings,
        suspect: context.array?.core.suspect.list().map((range) => ({ ...range })) ?? [],
        scrubbed: scrubbedOf(context, findings),
      };
    } finally {
      await inside.close();
    }
  } finally {
    await opened.close();
  }
}

function scrubbedOf({ array, scrub }: CheckContext, findings: readonly Finding[]): Looked['scrubbed'] {
  if (scrub === null || array === null || array.core.degradedSlots.length > 0) return null;
  return findings.flatMap((finding) => {
    const rows = rowsOf(array, finding);
    return rows === null ? [] : [{ finding, rows }];
  });
}

/** null: it is about something else than data. */
function rowsOf({ core }: RaidArray, { code, where }: Finding): Range | null {
  const { chunkBytes, memberSizeBytes } = core.geometry;
  const { stripe = 0, stripes = 1, image, offsetBytes = 0, lengthBytes = 0 } = where;
  if (code === 'PARITY_MISMATCH') return { start: stripe * chunkBytes, end: (stripe + stripes) * chunkBytes };
  const member = core.slotMembers().find((each) => each.image === image);
  if (code !== 'IMAGE_UNREADABLE' || member === undefined) return null;
  const start = offsetBytes - member.superblock.dataOffset;
  return start < 0 || start >= memberSizeBytes ? null : { start, end: start + lengthBytes };
}

/**
 * What is of the volume, or claims to be, or once was: other files beside it are nobody's concern, and are not
 * locked.
 */
async function relevantPaths(located: Located): Promise<string[]> {
  const opened = await openImages(located.images, located.expected, 'look');
  try {
    const { images, absent } = opened;
    assertHoldsVolume(located, images);
    if (isSingle(located, images)) return [...located.images];
    const judgement = judgeImages(located, images);
    const restorable = await findRestorable(images, judgement);
    const isRelevant = (path: string): boolean =>
      located.expected.has(path) ||
      located.directory === null ||
      restorable.has(path) ||
      judgement.members.some((member) => member.image === path && member.state !== 'foreign');
    // Without a set nothing tells what is of it.
    return located.images.filter((path) => absent.has(path) || judgement.set === null || isRelevant(path));
  } finally {
    await opened.close();
  }
}

async function withSizes(located: Located, image: ExaminedImage): Promise<CheckedImage> {
  const file = isRemote(image.image) ? null : await stat(image.image);
  return {
    ...image,
    fileBytes: file?.isFile() ? file.size : image.device.size,
    madeBytes: located.manifest?.sizeBytes ?? null,
    isExpected: located.expected.has(image.image),
  };
}

interface Inside {
  readonly found: Pick<CheckContext, 'array' | 'openFailure' | 'recordTrouble'>;
  close(): Promise<void>;
}

/** The array, for reading, where the verdict allows it. */
async function openInside(
  located: Located,
  judgement: Judgement | null,
  { record, warn }: LookOptions,
): Promise<Inside> {
  const none = { array: null, openFailure: null, recordTrouble: null };
  if (
    judgement === null ||
    judgement.set === null ||
    judgement.refusals.some(({ forbids }) => forbids === 'all')
  )
    return { found: none, close: () => Promise.resolve() };
  const { file, trouble } = await lookAtRecordFile(located, judgement, record);
  let array: RaidArray | null = null;
  let openFailure: UserError | null = null;
  try {
    array = await openArray(judgement, {
      name: located.label,
      readOnly: true,
      warn,
      ...(file === null ? {} : { recordFile: file }),
    });
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    openFailure = error;
  }
  return {
    found: { array, openFailure, recordTrouble: trouble },
    close: async () => {
      await array?.close();
      await file?.close();
    },
  };
}
