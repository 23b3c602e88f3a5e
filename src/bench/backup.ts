/**
 * Backups: beside what copies an image that nobody writes, and what writers pay while one runs.
 *
 * What was measured stands in the notes of the run; a figure of another hour or machine cannot be compared with it.
 */
import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createBackup } from '../volume/backup/create.js';
import { openVolume } from '../volume/index.js';
import { LISTING_NOTES, listingComparison } from './backup-listing.js';
import { backupOptions } from './backup-options.js';
import { incrementComparisons, SINCE_NOTES } from './backup-since.js';
import { type BackupWriteSizes, backupWriteComparisons, WRITE_NOTES } from './backup-writes.js';
import type { Bench, BenchContext, Comparison, Contender } from './bench.js';
import { MEMBERS, MIB, varied } from './bench-array.js';
import { makeVolume } from './extents-volume.js';
import { FLEECING_NOTES, type FleecingSizes, fleecingComparisons } from './fleecing.js';
import { whyNo } from './nbd-servers.js';
import { prepareInSteps } from './prepare.js';
import { SNAPSHOT_NOTES, type SnapshotWriteSizes, snapshotWriteComparisons } from './snapshot-writes.js';
import { inOrder, performWrites } from './workload.js';

const execute = promisify(execFile);

export interface BackupSizes {
  /** Of the volumes that are copied; the first half of each is data, the other a hole. */
  readonly volumeBytes: number;
  readonly writes: BackupWriteSizes;
  readonly fleecing: FleecingSizes;
  readonly snapshots: SnapshotWriteSizes;
}

export const backup: Bench = backupOf({
  volumeBytes: 1024 * MIB,
  writes: { volumeBytes: 192 * MIB, requests: 16_384, depth: 32 },
  fleecing: { volumeBytes: 192 * MIB, requests: 16_384, depth: 32 },
  snapshots: { volumeBytes: 192 * MIB, requests: 2048, flushEvery: [1, 32, 1024] },
});

const COPY_NOTES = [
  'All copies end durably: cp and qemu-img are followed by sync of what they made. The image is in the page cache.',
  'Goal: 0.9 of the faster of both. Tried: flushes of what is copied while more is copied (device/early-flushes.ts), every 32 MiB: 0.91 and 0.84 before, as nothing went to the disk before the flush at the end.',
];

export function backupOf({ volumeBytes, writes, fleecing, snapshots }: BackupSizes): Bench {
  return {
    name: 'backup',
    title: 'Backups beside cp and qemu, increments, and what writers pay for backups and snapshots',
    prepare: ({ directory }: BenchContext) =>
      prepareInSteps(async (opened) => {
        const missing = await whyNo('qemu-img');
        const noDaemon = await whyNo('qemu-storage-daemon');
        const absent = [missing, noDaemon].filter((why) => why !== null);
        const listing = await listingComparison(directory, volumeBytes / 2, (why) => absent.push(why));
        async function* comparisons(): AsyncIterable<Comparison> {
          yield await copies(directory, volumeBytes, missing === null);
          if (listing !== null) yield listing;
          yield* backupWriteComparisons(directory, writes, opened);
          yield* fleecingComparisons(directory, fleecing, noDaemon === null);
          yield* snapshotWriteComparisons(directory, snapshots, opened);
          yield* incrementComparisons(directory, volumeBytes / 4);
        }
        return {
          comparisons,
          notes: [
            ...absent,
            ...COPY_NOTES,
            ...LISTING_NOTES,
            ...WRITE_NOTES,
            ...FLEECING_NOTES,
            ...SNAPSHOT_NOTES,
            ...SINCE_NOTES,
          ],
        };
      }),
  };
}

async function copies(directory: string, volumeBytes: number, hasQemu: boolean): Promise<Comparison> {
  const image = await halfFull(join(directory, 'single'), volumeBytes, 1);
  const array = await halfFull(join(directory, 'array'), volumeBytes, MEMBERS);
  const output = join(directory, 'copy.img');
  const qemu: Contender = {
    name: 'qemu-img convert',
    run: () =>
      timed('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', join(image, 'disk.img'), output], output),
  };
  const cp: Contender = {
    name: 'cp --sparse=always',
    run: () => timed('cp', ['--sparse=always', join(image, 'disk.img'), output], output),
  };
  return {
    title: `${volumeBytes / MIB} MiB, half of it data`,
    roundBytes: volumeBytes / 2,
    operations: volumeBytes / 2 / MIB,
    baseline: cp.name,
    contenders: [
      cp,
      ...(hasQemu ? [qemu] : []),
      { name: 'backup of one image', run: () => backedUp(image, output) },
      { name: 'backup of RAID-5', run: () => backedUp(array, output) },
    ],
    reset: () => rm(output, { force: true }),
  };
}

async function halfFull(path: string, sizeBytes: number, members: 1 | typeof MEMBERS): Promise<string> {
  await makeVolume(path, sizeBytes, { members, extentBytes: null });
  const volume = await openVolume([path], { access: 'write', warn: () => undefined });
  try {
    const offsets = inOrder(sizeBytes / 2 / MIB, MIB);
    await performWrites({ title: 'fill', requestBytes: MIB, offsets, depth: 4 }, volume.device, varied(MIB));
    await volume.device.flush();
  } finally {
    await volume.close();
  }
  return path;
}

async function timed(program: string, args: readonly string[], output: string): Promise<{ seconds: number }> {
  const startMs = performance.now();
  await execute(program, args);
  await execute('sync', [output]);
  return { seconds: (performance.now() - startMs) / 1000 };
}

/** With the opening of the volume, as a process of its own has it. */
async function backedUp(path: string, to: string): Promise<{ seconds: number }> {
  const startMs = performance.now();
  const volume = await openVolume([path], { access: 'read', warn: () => undefined });
  try {
    const container = { kind: 'none' } as const;
    await createBackup(volume, backupOptions({ name: 'copy', to, container, onOverflow: 'drain' }));
  } finally {
    await volume.close();
  }
  return { seconds: (performance.now() - startMs) / 1000 };
}
