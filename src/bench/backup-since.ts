/**
 * Increments against what was changed: from what was noted as changed since, and by comparing all that is in use. Each round makes one
 * since the same full backup, of the same changes.
 */
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createBackup } from '../volume/backup/create.js';
import { openVolume, type Volume } from '../volume/index.js';
import { VolumeSnapshots } from '../volume/snapshots/volume-snapshots.js';
import { backupOptions } from './backup-options.js';
import type { Comparison, Contender, Sample } from './bench.js';
import { MIB, varied } from './bench-array.js';
import { BLOCK_BYTES, makeVolume } from './extents-volume.js';
import { inOrder, performWrites, scattered } from './workload.js';

export const SINCE_NOTES = [
  'Increments: one raw image, all of it in use. read: of the volume; kept: of content in the set.',
];

/** Of so many blocks of the volume, changed since the full backup. */
const SHARES = [1 / 1024, 1 / 64, 1 / 8];

/** `sizeBytes`: whole MiB. */
export async function* incrementComparisons(directory: string, sizeBytes: number): AsyncIterable<Comparison> {
  const blocks = sizeBytes / BLOCK_BYTES;
  for (const [at, share] of SHARES.entries()) {
    const path = join(directory, `since-${at}`);
    await makeVolume(path, sizeBytes, { members: 1, extentBytes: null });
    const changed = Math.round(blocks * share);
    await withVolume(path, 'write', async (volume) => {
      const fill = { title: 'fill', requestBytes: MIB, offsets: inOrder(sizeBytes / MIB, MIB), depth: 4 };
      await performWrites(fill, volume.device, varied(MIB));
      await volume.device.flush();
      await made(volume, join(directory, 'since.set'), `full-${at}`, null);
      const offsets = scattered(changed, BLOCK_BYTES, sizeBytes);
      const changes = { title: 'change', requestBytes: BLOCK_BYTES, offsets, depth: 4 };
      await performWrites(
        changes,
        volume.device,
        varied(BLOCK_BYTES).map((byte) => byte ^ 1),
      );
    });
    yield compared(
      path,
      join(directory, 'since.set'),
      at,
      `${changed} of ${blocks} blocks changed`,
      sizeBytes,
    );
  }
}

function compared(path: string, set: string, at: number, what: string, sizeBytes: number): Comparison {
  let round = 0;
  const run = (isNoted: boolean) => async (): Promise<Sample> => {
    round += 1;
    const name = `increment-${at}-${round}`;
    try {
      return await withVolume(path, 'read', (volume) =>
        made(isNoted ? volume : withoutMarks(volume), set, name, `full-${at}`),
      );
    } finally {
      await rm(join(set, name), { recursive: true, force: true });
    }
  };
  const comparing: Contender = { name: 'compared', run: run(false) };
  return {
    title: `an increment, ${what}`,
    roundBytes: sizeBytes,
    operations: sizeBytes / BLOCK_BYTES,
    baseline: comparing.name,
    contenders: [comparing, { name: 'noted as changed', run: run(true) }],
  };
}

async function made(volume: Volume, to: string, name: string, since: string | null): Promise<Sample> {
  const container = { kind: 'none' } as const;
  const startMs = performance.now();
  const options = {
    ...{ name, to, since, container },
    isSet: true,
    onOverflow: 'drain',
    allBlocks: true,
  } as const;
  const { copiedBytes } = await createBackup(volume, backupOptions(options));
  const seconds = (performance.now() - startMs) / 1000;
  const { size } = await stat(join(to, name, 'data'));
  return { seconds, counts: { readBytes: copiedBytes, keptBytes: size } };
}

/** As one of which nothing was noted. */
function withoutMarks(volume: Volume): Volume {
  return { ...volume, snapshots: VolumeSnapshots.none() };
}

async function withVolume<R>(
  path: string,
  access: 'read' | 'write',
  use: (volume: Volume) => Promise<R>,
): Promise<R> {
  const volume = await openVolume([path], { access, warn: () => undefined });
  try {
    return await use(volume);
  } finally {
    await volume.close();
  }
}
