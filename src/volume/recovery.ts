/**
 * Makes an array right that was not closed, before it is written: replays what logs name, makes parity anew
 * where it may be wrong, and nothing else.
 */
import { UserError } from '../errors.js';
import type { RaidArray } from '../raid/array.js';
import type { Judgement } from '../raid/md/model.js';
import { replayPpl } from '../raid/ppl-replay.js';
import type { OpenVolumeOptions, Recovery } from './model.js';

/** Makes a dirty array's parity right before it is written. null: there was nothing to do. */
export async function recoverArray(
  array: RaidArray,
  judgement: Judgement,
  options: Pick<OpenVolumeOptions, 'force' | 'warn' | 'sweep'>,
): Promise<Recovery | null> {
  const { core } = array;
  const replayed = await replayPpl(array, judgement);
  if (core.suspect.isEmpty) return replayed === 0 ? null : { ...NOTHING, replayedEntries: replayed };
  if (core.degradedSlots.length > 0) {
    await acceptDoubt(array, options);
    return null;
  }
  options.warn(`${array.name} was not closed: making parity anew where it may be wrong`);
  return { ...(await array.resync(options.sweep)), replayedEntries: replayed };
}

const NOTHING = { resyncedStripes: 0, resyncedBytes: 0, correctedStripes: 0, skippedBytes: 0 };

async function acceptDoubt(
  array: RaidArray,
  options: Pick<OpenVolumeOptions, 'force' | 'warn'>,
): Promise<void> {
  const { core } = array;
  const slots = core.degradedSlots;
  const doubt = `what the member in slot ${slots.join(', ')} held in ${core.suspect.totalBytes} bytes of its data area cannot be known for sure`;
  if (options.force !== true) {
    throw new UserError('REFUSED', `${array.name} is dirty and degraded: it was not closed, and ${doubt}`, {
      hint: 'bring the missing member back if it can be; else --force starts it with what there is',
      details: { slots, suspectBytes: core.suspect.totalBytes },
    });
  }
  options.warn(`${array.name} is started dirty and degraded, as --force asks: ${doubt}`);
  // Parity is all there is: it has to be believed from here on.
  for (const { start, end } of [...core.suspect.list()]) core.suspect.remove(start, end);
  await array.metadata.checkpoint();
}
