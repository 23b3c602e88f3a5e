/**
 * What a listing of the blocks in use saves: an ext4 of which half is files, in an image that was full of something else before, so that no
 * free block reads as a hole. Beside it all blocks, as for what is no filesystem that is known.
 */
import { execFile } from 'node:child_process';
import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createBackup } from '../volume/backup/create.js';
import { openVolume } from '../volume/index.js';
import { backupOptions } from './backup-options.js';
import type { Comparison, Contender, Sample } from './bench.js';
import { MIB, varied } from './bench-array.js';
import { makeVolume } from './extents-volume.js';
import { inOrder, performWrites } from './workload.js';

const execute = promisify(execFile);

export const LISTING_NOTES = [
  'Listing: taken: bytes of the volume that were read for it; disk: what the copy takes.',
];

/** null: mkfs.ext4 cannot be run; `why` is told. `sizeBytes`: whole MiB. */
export async function listingComparison(
  directory: string,
  sizeBytes: number,
  why: (text: string) => void,
): Promise<Comparison | null> {
  const path = join(directory, 'listing');
  try {
    await makeHalfFull(path, sizeBytes);
  } catch (error) {
    why(`used-block listing: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
  const output = join(directory, 'listing.img');
  const contender = (name: string, allBlocks: boolean): Contender => ({
    name,
    run: () => backedUp(path, output, allBlocks),
  });
  return {
    title: `${sizeBytes / MIB} MiB of ext4, half of it files, all of it written once`,
    roundBytes: sizeBytes,
    operations: sizeBytes / MIB,
    baseline: 'all blocks',
    contenders: [contender('all blocks', true), contender('blocks in use', false)],
    reset: () => rm(output, { force: true }),
  };
}

async function makeHalfFull(path: string, sizeBytes: number): Promise<void> {
  await makeVolume(path, sizeBytes, { members: 1, extentBytes: null });
  const volume = await openVolume([path], { access: 'write', warn: () => undefined });
  try {
    const fill = { title: 'fill', requestBytes: MIB, offsets: inOrder(sizeBytes / MIB, MIB), depth: 4 };
    await performWrites(fill, volume.device, varied(MIB));
  } finally {
    await volume.close();
  }
  const files = `${path}.files`;
  await mkdir(files);
  await writeFile(join(files, 'file'), Buffer.concat(new Array(sizeBytes / 2 / MIB).fill(varied(MIB))));
  // The rest of it keeps what it has. A journal would be in use too, and half of a small one.
  const flags = ['-q', '-F', '-b', '4096', '-E', 'nodiscard', '-O', '^has_journal'];
  await execute('mkfs.ext4', [...flags, '-d', files, join(path, 'disk.img')]);
}

async function backedUp(path: string, to: string, allBlocks: boolean): Promise<Sample> {
  const startMs = performance.now();
  const volume = await openVolume([path], { access: 'read', warn: () => undefined });
  try {
    const container = { kind: 'none' } as const;
    const { copiedBytes } = await createBackup(
      volume,
      backupOptions({ ...{ name: 'listed', to, container, allBlocks }, onOverflow: 'drain' }),
    );
    const seconds = (performance.now() - startMs) / 1000;
    return { seconds, counts: { taken: copiedBytes, disk: (await stat(to)).blocks * 512 } };
  } finally {
    await volume.close();
  }
}
