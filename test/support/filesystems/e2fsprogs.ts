/**
 * Filesystems made, filled and judged by e2fsprogs: mke2fs, debugfs, dumpe2fs, e2fsck. What is left out for want of one of
 * them is printed.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { MemoryDevice } from '../../../src/device/memory.js';
import { RangeSet } from '../../../src/device/range-set.js';

/** They are not in everybody's PATH. */
export const PATH_OF_E2FSPROGS = `${process.env.PATH}:/usr/sbin:/sbin`;

const env = {
  ...process.env,
  PATH: PATH_OF_E2FSPROGS,
  MKE2FS_CONFIG: '/dev/null',
  LC_ALL: 'C',
};

export const hasE2fsprogs = ['mke2fs', 'debugfs', 'dumpe2fs', 'e2fsck'].every((program) => {
  const isThere = spawnSync(program, ['-V'], { env }).error === undefined;
  if (!isThere) console.log(`left out: ${program} is not installed`);
  return isThere;
});

export function makeFilesystem(image: string, size: string, options: readonly string[]): void {
  writeFileSync(image, '');
  truncateSync(image, sizeOf(size));
  execFileSync('mke2fs', ['-q', '-F', ...options, image], { env, stdio: ['ignore', 'pipe', 'pipe'] });
}

function sizeOf(text: string): number {
  const unit = { K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 }[text.at(-1) as 'K' | 'M' | 'G' | 'T'];
  return Number.parseInt(text, 10) * unit;
}

/** Runs commands of debugfs, which must all succeed. */
export function debugfs(image: string, commands: readonly string[]): void {
  const { stderr, status } = spawnSync('debugfs', ['-w', '-f', '-', image], {
    env,
    input: `${commands.join('\n')}\n`,
    encoding: 'utf8',
  });
  const errors = stderr.split('\n').filter((line) => line !== '' && !/^debugfs \d/.test(line));
  if (status !== 0 || errors.length > 0) throw new Error(`debugfs: ${errors.join('\n')}`);
}

/** Writes files of these sizes, in a folder of their own, and takes every other one away again. */
export function fillAndHollow(folder: string, image: string, sizes: readonly number[], into = '/kept'): void {
  const commands: string[] = [`mkdir ${into}`];
  const removals: string[] = [];
  sizes.forEach((bytes, i) => {
    const file = join(folder, `content-${bytes}`);
    writeFileSync(file, Buffer.alloc(bytes, i + 1));
    commands.push(`write ${file} ${into}/file-${i}`);
    if (i % 2 === 1) removals.push(`rm ${into}/file-${i}`);
  });
  debugfs(image, [...commands, ...removals]);
}

export interface Judged {
  readonly blockBytes: number;
  readonly blocks: number;
  readonly hasChecksums: boolean;
  /** In blocks. */
  readonly free: RangeSet;
}

/** What dumpe2fs lists as free. Of a free cluster it names the first block. */
export function judge(image: string): Judged {
  const text = execFileSync('dumpe2fs', [image], {
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 2 ** 28,
  });
  const number = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1]);
  const clusterBlocks = (number('Cluster size') || number('Block size')) / number('Block size');
  const blocks = number('Block count');
  const free = new RangeSet();
  for (const [, list] of text.matchAll(/^ {2}Free blocks: (.+)$/gm)) {
    for (const range of list!.split(', ')) {
      const [from, to] = range.split('-').map(Number) as [number, number?];
      free.add(from, Math.min(blocks, (to ?? from) + clusterBlocks));
    }
  }
  return { blockBytes: number('Block size'), blocks, hasChecksums: text.includes('metadata_csum'), free };
}

/** Replays the journal, and nothing else. */
export function replay(image: string): void {
  const { status, stdout } = spawnSync('e2fsck', ['-y', '-E', 'journal_only', image], {
    env,
    encoding: 'utf8',
  });
  if (status === null || status > 1) throw new Error(`e2fsck: ${stdout}`);
}

/** What is wrong with it, as far as e2fsck says; nothing is changed. */
export function faults(image: string): string {
  const { stdout, status } = spawnSync('e2fsck', ['-f', '-n', image], { env, encoding: 'utf8' });
  return status === 0 ? '' : stdout;
}

/** An image as a device in memory, holes kept. */
export async function inMemory(image: string): Promise<MemoryDevice> {
  const handle = await open(image);
  try {
    const { size } = await handle.stat();
    const device = new MemoryDevice(size);
    const piece = Buffer.alloc(1024 * 1024);
    const zeroes = Buffer.alloc(4096);
    for (let at = 0; at < size; at += piece.byteLength) {
      const { bytesRead } = await handle.read(piece, 0, piece.byteLength, at);
      for (let page = 0; page < bytesRead; page += 4096) {
        const bytes = piece.subarray(page, Math.min(page + 4096, bytesRead));
        if (!bytes.equals(zeroes.subarray(0, bytes.byteLength))) await device.write(at + page, bytes);
      }
    }
    return device;
  } finally {
    await handle.close();
  }
}

export interface JudgedGroup {
  readonly index: number;
  readonly first: number;
  readonly blocks: number;
  readonly free: number;
  readonly bitmap: number;
}

/** The groups, by dumpe2fs; for filesystems without clusters. */
export function bitmapsOf(image: string): JudgedGroup[] {
  const text = execFileSync('dumpe2fs', [image], {
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return [
    ...text.matchAll(
      /^Group (\d+): \(Blocks (\d+)-(\d+)\)[\s\S]*?Block bitmap at (\d+)[\s\S]*?(\d+) free blocks/gm,
    ),
  ].map(([, index, first, last, bitmap, free]) => ({
    index: Number(index),
    first: Number(first),
    blocks: Number(last) - Number(first) + 1,
    free: Number(free),
    bitmap: Number(bitmap),
  }));
}
