/** What replication is told of a replica, from its entry in the list of the volume; and what that list is told back. */
import { UserError } from '../../errors.js';
import type { ReplicaDescription } from '../../replication/replication.js';
import { DEFAULT_SETTINGS, type ReplicaSettings } from '../../replication/settings.js';
import { FORMER_NAME } from './generations/former-primary.js';
import type { Maps } from './map-files.js';
import type { Outages } from './outages.js';
import type { ReplicaEntry, ReplicasFile } from './replicas-file.js';
import { connectSecondary } from './secondary/connect.js';

function settingsOf({ mode, onLoss, limits }: ReplicaEntry): ReplicaSettings {
  const { rateBytes, whenOutpaced, queueBytes, lateMs } = limits;
  const { queue, pace, acknowledgeMs } = DEFAULT_SETTINGS;
  return {
    ...DEFAULT_SETTINGS,
    ...{ mode, onLoss, acknowledgeMs: lateMs ?? acknowledgeMs },
    queue: { ...queue, bytes: queueBytes ?? queue.bytes },
    pace: {
      ...pace,
      whenOutpaced: whenOutpaced ?? pace.whenOutpaced,
      bytesPerSecond: rateBytes ?? pace.bytesPerSecond,
    },
  };
}

export interface DescribeOptions {
  readonly outages: Outages;
  /** A secondary that takes shorter epochs is refused. */
  readonly leastEpochBytes: number;
}

/** As its list has it. */
export function describe(
  file: ReplicasFile,
  entry: ReplicaEntry,
  maps: Maps,
  { outages, leastEpochBytes }: DescribeOptions,
): ReplicaDescription {
  const { name, uuid, isWhole, isPaused } = entry;
  return {
    ...{ name, uuid, ...maps, isWhole, isPaused },
    settings: settingsOf(entry),
    onStanding: (state) => outages.note(name, state),
    connect: async (signal) => {
      const onWhole = (isWholeNow: boolean) => file.update(name, { isWhole: isWholeNow });
      try {
        const connected = await connectSecondary(file.entry(name)!, file.content, onWhole, signal);
        if (connected.epochBytes < leastEpochBytes) {
          await connected.close();
          throw tooShortEpochs(file.entry(name)!.to, connected.epochBytes);
        }
        // A cut may have come between its being a secondary again and our list's saying so.
        if (file.entry(name)!.diverged !== null)
          await file.update(name, { diverged: null }).catch(async (error: unknown) => {
            // Else its image would be locked by us, and never reached again. Why it is not used is what is told.
            await Promise.allSettled([connected.close()]);
            throw error;
          });
        return connected;
      } catch (error) {
        if (error instanceof UserError && error.details.reason === 'diverged')
          await file.update(name, { diverged: error.message });
        throw error;
      }
    },
  };
}

/** It is all dirty, and that is in the list: an opening makes its map anew. */
export async function mapFailed(
  file: ReplicasFile,
  name: string,
  cause: unknown,
  warn: (message: string) => void,
): Promise<void> {
  const isFormer = name === FORMER_NAME;
  if ((isFormer ? file.content.former : file.entry(name))?.isMapLost === true) return;
  await (isFormer
    ? file.updateFormer({ isMapLost: true })
    : file.update(name, { isMapLost: true, isWhole: false }));
  warn(
    `the map of ${isFormer ? name : `replica ${name}`} cannot be written (${String(cause)}): all blocks count as dirty`,
  );
}

function tooShortEpochs(to: string, epochBytes: number): UserError {
  return new UserError(
    'REFUSED',
    `${to} takes epochs of ${epochBytes} bytes alone: it has replicas of its own`,
    {
      hint: 'A replica of a secondary has none: give its replicas to the secondary.',
      details: { image: to, epochBytes },
    },
  );
}
