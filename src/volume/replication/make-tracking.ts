/** The files with which a volume is tracked: its log, its maps, and last its list of replicas, which makes it so. */
import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileError } from '../../device/device-errors.js';
import { syncDirectory } from '../../device/image-open.js';
import { openImage } from '../../device/open-image.js';
import { logFileBytes, TransactionLog } from '../../replication/log/transaction-log.js';
import type { PrimaryPlaces } from './places.js';
import { type ReplicasContent, ReplicasFile } from './replicas-file.js';

/** Of the transaction log: 4 MiB, some 450,000 ranges. */
const LOG_SECTORS = 8192;

/** Of a volume that nobody writes meanwhile, or that has no replicas yet. `makeMaps`: makes those that the list names, durably. */
export async function makeTracking(
  places: PrimaryPlaces,
  content: ReplicasContent,
  makeMaps: () => Promise<void> = async () => {},
): Promise<void> {
  try {
    await mkdir(places.directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw fileError(places.directory, 'made', error);
  }
  await rm(places.log, { force: true });
  const log = await openImage(places.log, { readOnly: false, create: { size: logFileBytes(LOG_SECTORS) } });
  try {
    await TransactionLog.format(log, { volumeUuid: content.volumeUuid });
  } finally {
    await log.close();
  }
  await makeMaps();
  // The list makes it so, and comes last.
  await ReplicasFile.create(places.replicas, content);
  await syncDirectory(dirname(places.directory));
}
