/** Checks images by themselves: that they are there, have all their bytes, can be read, and are what they should be. */
import type { RaidArray } from '../raid/array.js';
import { type CheckContext, type CheckedImage, isFinding, readOr } from './context.js';
import { type Finding, finding } from './findings.js';

const STEP_BYTES = 1024 * 1024;

export async function* checkImages(context: CheckContext): AsyncGenerator<Finding> {
  for (const [image, why] of context.absent) {
    yield finding('IMAGE_ABSENT', { image }, why, {
      hint: 'bring it back, or rebuild its slot on another image: holdfast member add',
    });
  }
  for (const image of context.images) {
    yield* checkLength(image);
    yield* checkIdentity(context, image);
  }
  if (context.judgement === null && context.scrub !== null) {
    for (const image of context.images) yield* readAll(image, context.scrub);
  }
}

function* checkLength({ image, device, fileBytes, madeBytes }: CheckedImage): Generator<Finding> {
  const lacking = (madeBytes ?? 0) - device.size;
  if (lacking > 0) {
    const where = { image, offsetBytes: device.size, lengthBytes: lacking };
    yield finding('IMAGE_CUT_SHORT', where, `it ends at byte ${device.size}, ${lacking} bytes are missing`, {
      hint: 'bring the rest back from a backup; what is left can be read',
    });
  }
  const tail = fileBytes - device.size;
  if (tail > 0) {
    const where = { image, offsetBytes: device.size, lengthBytes: tail };
    yield finding('IMAGE_TAIL', where, `it ends amid a sector: its last ${tail} bytes are out of reach`, {
      hint: 'if something was cut off, bring it back; else it does no harm',
    });
  }
}

/** An image that the volume names as its own, and that is none of it. */
function* checkIdentity({ judgement, restorable }: CheckContext, found: CheckedImage): Generator<Finding> {
  if (judgement === null || !found.isExpected || restorable.has(found.image)) return;
  const member = judgement.members.find(({ image }) => image === found.image);
  if (member?.state !== 'foreign') return;
  yield finding('IMAGE_FOREIGN', { image: found.image }, member.reason, {
    hint: 'another file has taken its name: bring the image back, or rebuild the slot on it: holdfast member add --image FILE --force',
  });
}

async function* readAll(
  { image, device }: CheckedImage,
  { signal, onProgress }: NonNullable<CheckContext['scrub']>,
): AsyncGenerator<Finding> {
  const buffer = new Uint8Array(STEP_BYTES);
  for (let at = 0; at < device.size; at += STEP_BYTES) {
    signal?.throwIfAborted();
    const bytes = buffer.subarray(0, Math.min(STEP_BYTES, device.size - at));
    const failed = await readOr(image, () => device.read(at, bytes));
    if (isFinding(failed)) yield failed;
    onProgress?.(at + bytes.byteLength, device.size);
  }
}

/** Sectors of members that a scrub could not read. */
export function* unreadableSectors({ core }: RaidArray): Generator<Finding> {
  for (const member of core.slotMembers()) {
    for (const { start, end } of member.unreadable.list()) {
      const where = {
        image: member.image,
        offsetBytes: member.superblock.dataOffset + start,
        lengthBytes: end - start,
      };
      yield finding('IMAGE_UNREADABLE', where, `${end - start} bytes of its data cannot be read`, {
        hint: 'what it holds can be made from the others: put another image in its place (holdfast member replace)',
      });
    }
  }
}
