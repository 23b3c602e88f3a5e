/**
 * An array as a volume: its images locked and judged once more, the array over them, and where it is open for
 * writing a cache above, which gathers small writes into full stripes.
 */
import { ClaimingDevice } from '../device/claiming-device.js';
import type { RaidArray } from '../raid/array.js';
import type { Judgement } from '../raid/md/model.js';
import { openArray } from '../raid/open.js';
import { replayForReading } from '../raid/ppl-replay.js';
import { VolumeBackups } from './backup/volume-backups.js';
import { closeFailed } from './closing.js';
import { HeldImages } from './held-images.js';
import { judgeImages, type OpenedImages, openImages } from './images.js';
import type { Located } from './locate.js';
import type { OpenVolumeOptions, Volume } from './model.js';
import { openRecordFile } from './record-file.js';
import { describeDoubt, recoverArray } from './recovery.js';
import { VolumeTracking } from './replication/volume-tracking.js';
import { stampsOfArray } from './snapshots/stamp-sources.js';
import { flushAndClose, VolumeSnapshots } from './snapshots/volume-snapshots.js';
import { cached, closeInOrder, gated } from './stack.js';

export async function openRaid(
  located: Located,
  paths: readonly string[],
  options: OpenVolumeOptions,
): Promise<Volume> {
  const opened = await openImages(paths, located.expected, options.access);
  try {
    return await stack(located, opened, options);
  } catch (error) {
    await opened.close();
    throw error;
  }
}

async function stack(located: Located, opened: OpenedImages, options: OpenVolumeOptions): Promise<Volume> {
  const { label } = located;
  const readOnly = options.access === 'read';
  const found = judgeImages(located, opened.images);
  const judgement = readOnly ? await replayForReading(found, options.warn) : found;
  const recordFile = await openRecordFile(located, judgement, options);
  const held = new HeldImages(opened.images.map(({ device }) => device));
  const files = [async () => recordFile?.close(), () => held.close()];
  const array = await openArray(judgement, {
    name: label,
    readOnly,
    warn: options.warn,
    ...(recordFile === null ? {} : { recordFile }),
  }).catch(async (error: unknown) => {
    await recordFile?.close();
    throw error;
  });
  if (readOnly) warnReader(array, found, options.warn);
  try {
    // Judged by what the members said before anything is written to them.
    const asked = { source: stampsOfArray(array), sizeBytes: array.size, readOnly, warn: options.warn };
    return await VolumeSnapshots.during(located, asked, async (snapshots) => {
      const recovery = readOnly ? null : await recoverArray(array, found, options);
      const tracking = readOnly
        ? VolumeTracking.none(array)
        : await VolumeTracking.open(located, array, { warn: options.warn });
      const { stripeDataBytes } = array.core.geometry;
      const claims = new ClaimingDevice(tracking.device);
      const { device, moments } = readOnly
        ? { device: claims, moments: null }
        : gated(claims, (gate) => cached(gate, stripeDataBytes, { replicas: tracking }));
      await snapshots.open({ label, device: claims, moments, warn: options.warn });
      const upper = readOnly
        ? [() => snapshots.close()]
        : [() => flushAndClose(device, snapshots), () => device.close(), () => tracking.close()];
      return {
        label,
        located,
        device,
        role: null,
        files: null,
        array,
        judgement: found,
        recovery,
        tracking,
        moments,
        backups: new VolumeBackups(),
        snapshots,
        held,
        close: () => closeInOrder([...upper, () => closeArray(array, snapshots), ...files]),
      };
    });
  } catch (error) {
    // Why it could not be opened is what the user must hear.
    await closeFailed(label, () => closeInOrder([() => array.close(), ...files]), options.warn);
    throw error;
  }
}

async function closeArray(array: RaidArray, snapshots: VolumeSnapshots): Promise<void> {
  await array.close();
  await snapshots.seal();
}

/** Who reads a volume as it is has to know what it may not be. */
function warnReader(array: RaidArray, judgement: Judgement, warn: (message: string) => void): void {
  for (const { forbids, message } of judgement.refusals) if (forbids === 'write') warn(message);
  const { suspect, degradedSlots } = array.core;
  if (suspect.isEmpty || degradedSlots.length === 0) return;
  warn(`${array.name} was not closed and is degraded: ${describeDoubt(array)}`);
}
