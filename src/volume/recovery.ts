/**
 * Makes an array right that was not closed, before it is written: replays what logs name, makes parity anew
 * where it may be wrong, and nothing else.
 */
import { UserError } from '../errors.js';
import type { RaidArray } from '../raid/array.js';
import { acceptDoubt, asPlaces, bytesInDoubt, nameRanges } from '../raid/doubt.js';
import type { Judgement } from '../raid/md/model.js';
import { replayPpl } from '../raid/ppl-replay.js';
import type { OpenVolumeOptions, Recovery } from './model.js';

type Options = Pick<OpenVolumeOptions, 'force' | 'warn' | 'sweep'>;

const NOTHING = { resyncedStripes: 0, resyncedBytes: 0, correctedStripes: 0, skippedBytes: 0 };

/** Makes a dirty array's parity right before it is written. null: there was nothing to do. */
export async function recoverArray(
  array: RaidArray,
  judgement: Judgement,
  options: Options,
): Promise<Recovery | null> {
  const { core } = array;
  const replayedEntries = await replayPpl(array, judgement);
  if (core.suspect.isEmpty) core.isRecovered = true;
  if (!core.isDegraded && !core.suspect.isEmpty) {
    options.warn(`${array.name} was not closed: making parity anew where it may be wrong`);
    return { ...(await array.resync(options.sweep)), replayedEntries, isInDoubt: false };
  }
  if (core.isRecovered) await makeClean(array, judgement);
  else {
    await startInDoubt(array, options);
    return { ...NOTHING, replayedEntries, isInDoubt: true };
  }
  return replayedEntries === 0 ? null : { ...NOTHING, replayedEntries, isInDoubt: false };
}

/**
 * The record says that all is flushed, and the power went before all superblocks said so too. Those that do not may be
 * all that is left one day, beside a record that lists what was about to be written.
 */
async function makeClean({ metadata, record }: RaidArray, judgement: Judgement): Promise<void> {
  if (record.chosen.record === null) return;
  if (judgement.set?.resyncOffset !== null || !metadata.isLevel) await metadata.checkpoint();
}

/** Dirty, and a member is gone: the write hole. It is started when the user says so, and then it is remembered. */
async function startInDoubt(array: RaidArray, { force, warn }: Options): Promise<void> {
  const { core } = array;
  const doubt = describeDoubt(array);
  if (force !== true) {
    throw new UserError('REFUSED', `${array.name} is dirty and degraded: it was not closed, and ${doubt}`, {
      hint: 'bring the missing member back if it can be; else --force starts it with what there is',
      details: {
        slots: core.degradedSlots,
        suspectBytes: core.suspect.totalBytes,
        inDoubt: core.isDoubtKnown ? asPlaces(bytesInDoubt(core)) : null,
      },
    });
  }
  warn(`${array.name} is started dirty and degraded, as --force asks: ${doubt}`);
  if (core.isDoubtKnown) acceptDoubt(core);
  else {
    // Nobody wrote down which rows were being written. Parity is all there is: it has to be believed, as mdadm does.
    for (const { start, end } of [...core.suspect.list()]) core.suspect.remove(start, end);
    core.isRecovered = true;
  }
  await array.metadata.checkpoint();
}

/** For people: what cannot be known, as exactly as it is known. */
export function describeDoubt({ core }: RaidArray): string {
  const slots = core.degradedSlots.join(', ');
  if (!core.isDoubtKnown) {
    return `what the member in slot ${slots} held in ${core.suspect.totalBytes} bytes of its data area cannot be known for sure`;
  }
  const ranges = bytesInDoubt(core);
  if (ranges.length === 0)
    return `the member in slot ${slots} is missing; it held nothing of what was being written`;
  return `these bytes, which the member in slot ${slots} held, are in doubt: ${nameRanges(ranges)}; reads of them fail until they are written anew`;
}
