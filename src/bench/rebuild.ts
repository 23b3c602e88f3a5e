/**
 * The rebuild of one member of four, beside dd reading the same bytes of the three others and writing as many to
 * one file, durably: two dd read to /dev/null, the third copies, all at once.
 *
 * Both write over blocks that the target's file already has. In the rebuild's time are the checkpoints and the
 * superblocks that make the member in-sync; not in it are the member's joining and, between rounds, its failing.
 *
 * On a machine that others used, ratios of single rounds went from 0.3 to 2.3: look at the quartiles.
 */
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlockDevice } from '../device/contract.js';
import { failMember, forgetMember, joinMember } from '../raid/membership.js';
import type { Bench, BenchContext, Comparison, Contender, Sample } from './bench.js';
import { type BenchArray, MEMBERS, MIB, makeArray, openBenchArray } from './bench-array.js';
import { measured } from './counting-device.js';
import { runDd, whyNoDd } from './dd.js';
import { prepareInSteps } from './prepare.js';

const REBUILT_SLOT = 1;

export const rebuild: Bench = rebuildOf(128 * MIB);

/** `memberBytes`: of each member's data; whole MiB. */
export function rebuildOf(memberBytes: number): Bench {
  return {
    name: 'rebuild',
    title: `Rebuild of one member of ${MEMBERS} against dd reading and writing the same bytes`,
    prepare: ({ directory }: BenchContext) =>
      prepareInSteps(async (onOpened) => {
        const missing = await whyNoDd();
        const images = await makeArray(directory, 'array', memberBytes);
        const [target, ddTarget] = [images[REBUILT_SLOT]!, join(directory, 'dd-target')];
        await copyFile(target, ddTarget);
        const sources = images.filter((image) => image !== target);
        const opened = await openBenchArray(sources, { readOnly: false });
        onOpened(opened.close);
        const ours = rebuilding(opened, await opened.openImage(target));
        const dd: Contender = { name: 'dd', run: () => ddRebuild(sources, ddTarget, memberBytes) };
        const comparison: Comparison = {
          title: `rebuild of ${memberBytes / MIB} MiB`,
          roundBytes: memberBytes,
          operations: memberBytes / MIB,
          baseline: missing === null ? 'dd' : null,
          contenders: missing === null ? [dd, ours] : [ours],
        };
        return { comparisons: () => [comparison], notes: notesOf(missing) };
      }),
  };
}

function notesOf(missing: string | null): string[] {
  return [
    missing ?? `dd: ${MEMBERS - 1} at once, bs=1M; two read to /dev/null, one copies with conv=fdatasync.`,
    'Speeds count the bytes of the member. Page cache: all that is read is in it.',
    'An operation is 1 MiB of the member.',
  ];
}

function rebuilding({ array, tally }: BenchArray, target: BlockDevice): Contender {
  const slot = array.core.slots[REBUILT_SLOT]!;
  return {
    name: 'rebuild',
    run: async () => {
      const member = await joinMember(array, target, slot);
      const sample = await measured(tally, () => array.rebuild(slot, member));
      await failMember(array, REBUILT_SLOT);
      await forgetMember(array, member, member.superblock.deviceNumber);
      return sample;
    },
  };
}

function ddRebuild(sources: readonly string[], to: string, bytes: number): Promise<Sample> {
  return runDd(sources.map((from, index) => (index === 0 ? { from, to, bytes } : { from, bytes })));
}
