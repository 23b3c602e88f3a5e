/** Checks the superblocks of members that serve, against each other, and what else in an image looks like one. */
import type { DeviceRole, Superblock } from '../raid/md/model.js';
import { type CheckContext, currentMembers, isWhole } from './context.js';
import { type Finding, finding } from './findings.js';

export async function* checkSuperblocks(context: CheckContext): AsyncGenerator<Finding> {
  yield* checkRestorable(context);
  yield* checkLeftOver(context);
  yield* checkAgreement(context);
}

function* checkRestorable({ restorable, images }: CheckContext): Generator<Finding> {
  for (const [image, superblock] of restorable) {
    const damage = images.find((each) => each.image === image)?.damaged[0];
    const role = superblock.roles[superblock.deviceNumber];
    const where = {
      image,
      ...(typeof role === 'number' ? { slot: role } : {}),
      offsetBytes: superblock.superOffset,
    };
    const why = damage === undefined ? 'nothing at its place calls itself one' : damage.reason;
    yield finding('SUPERBLOCK_DAMAGED', where, `its superblock cannot be used: ${why}`, {
      repair: 'restore-superblock',
    });
  }
}

/** Beside one that counts: of an array that was on the image before, or in what the array's user wrote. */
function* checkLeftOver({ images, judgement }: CheckContext): Generator<Finding> {
  if (judgement === null) return;
  for (const { image, superblocks, damaged } of images) {
    const [counts, ...others] = superblocks;
    if (counts === undefined) continue;
    for (const { version, superOffset } of [...others, ...damaged]) {
      yield finding(
        'SUPERBLOCK_LEFT_OVER',
        { image, offsetBytes: superOffset },
        `beside the superblock ${counts.version} that counts there is another one, ${version}, at byte ${superOffset}`,
        { hint: 'it does no harm here; mdadm may ask which of the two is meant (mdadm --examine)' },
      );
    }
  }
}

/** Members with as many events were written together, and say the same; one that is an event behind need not. */
function* checkAgreement(context: CheckContext): Generator<Finding> {
  const { judgement } = context;
  const freshest = judgement?.freshest ?? null;
  if (judgement === null || freshest === null) return;
  for (const { image, slot, superblock } of currentMembers(context)) {
    if (superblock.events !== freshest.events) continue;
    const differing = differences(superblock, freshest);
    if (differing.length === 0) continue;
    const where = {
      image: image!,
      ...(slot === null ? {} : { slot }),
      offsetBytes: superblock.superOffset,
    };
    yield finding(
      'SUPERBLOCKS_DISAGREE',
      where,
      `it has as many events as the freshest (${freshest.events}) and says otherwise: ${differing.join(', ')}`,
      {
        hint: 'the next command that writes makes them agree',
        repair: isWhole(context) ? 'write-metadata' : null,
      },
    );
  }
}

function differences(own: Superblock, reference: Superblock): string[] {
  const fields = [
    ['resync offset', own.resyncOffset, reference.resyncOffset],
    ['roles', rolesText(own.roles), rolesText(reference.roles)],
    ['bitmap', own.features.bitmap, reference.features.bitmap],
    ['partial parity log', own.features.ppl, reference.features.ppl],
    ['journal', own.features.journal, reference.features.journal],
  ] as const;
  return fields
    .filter(([, is, should]) => is !== should)
    .map(([name, is, should]) => `${name} (${is ?? 'clean'}, not ${should ?? 'clean'})`);
}

function rolesText(roles: readonly DeviceRole[]): string {
  const used = roles.findLastIndex((role) => role !== 'spare') + 1;
  return roles.slice(0, used).join(' ');
}
