/** What `member add` and `member replace` share: an image comes in and is rebuilt, with progress. */
import { stat } from 'node:fs/promises';
import type { Command } from '@oclif/core/command';
import type { AddMemberOptions, Volume } from '../volume/index.js';
import type { Outcome } from './base-command.js';
import { COMMON_EXIT_CODES } from './exit-codes.js';
import { formatSize } from './sizes.js';
import { secondsSince, VolumeCommand } from './volume-command.js';

type Choice = Pick<AddMemberOptions, 'image' | 'slot' | 'replace' | 'force'>;

export abstract class MemberCommand<T extends typeof Command> extends VolumeCommand<T> {
  // oclif's manifest stops at a class without statics of its own, and would lose what is above it.
  static override exitCodes = COMMON_EXIT_CODES;

  /** Rebuilds `choice.image` into its slot; `--force` over an image that exists wants a yes. */
  protected async bringIn(
    names: readonly string[],
    choice: Choice,
    { yes, dryRun }: { yes: boolean; dryRun: boolean },
  ): Promise<Outcome> {
    const exists = choice.image !== undefined && (await stat(choice.image).catch(() => null)) !== null;
    if (dryRun) {
      return this.withVolume(names, { access: 'read' }, (volume) => wouldBringIn(volume, choice, exists));
    }
    if (choice.force && exists) {
      await this.confirm(`Overwrite ${choice.image}? What it holds is lost.`, { yes });
    }
    return this.#add(names, choice);
  }

  async #add(names: readonly string[], choice: Choice): Promise<Outcome> {
    const started = performance.now();
    const added = await this.act(names, 'member add', choice, { label: 'rebuild' });
    const { image, slot, rebuild } = added;
    if (rebuild !== null && rebuild.lostBytes > 0) {
      this.warn(
        `${formatSize(rebuild.lostBytes)} could not be made: another member has bad blocks there, or they were in doubt. They are noted as bad on ${image}`,
      );
    }
    const seconds = secondsSince(started);
    const { rebuiltBytes = 0, fromBytes = 0, lostBytes = 0 } = rebuild ?? {};
    return {
      result: { image, slot, isSpare: slot === null, rebuiltBytes, fromBytes, lostBytes, seconds },
      text: () =>
        slot === null
          ? `${image} is a spare`
          : `slot ${slot}: ${image} is rebuilt (${formatSize(rebuiltBytes)} in ${seconds} s)`,
    };
  }
}

async function wouldBringIn(volume: Volume, choice: Choice, exists: boolean): Promise<Outcome> {
  const { arrayOf, chooseSlot } = await import('../volume/index.js');
  const { image, replace, force } = choice;
  const slot = chooseSlot(arrayOf(volume), choice)?.index ?? null;
  const what =
    image === undefined ? 'a spare, or what was begun,' : `${image} (${exists ? 'exists' : 'would be made'})`;
  const where = slot === null ? 'as a spare' : `into slot ${slot}`;
  return {
    result: { dryRun: true, image: image ?? null, slot, replace, imageExists: exists, force },
    text: () => `would bring in ${what} ${where}${replace ? ', in place of its member' : ''}`,
  };
}
