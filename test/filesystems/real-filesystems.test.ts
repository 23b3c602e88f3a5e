/**
 * What usedRanges says of filesystems that mke2fs made and debugfs filled, beside dumpe2fs' own list of free blocks, block by
 * block.
 */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openImage } from '../../src/device/open-image.js';
import { RangeSet } from '../../src/device/range-set.js';
import { usedRanges } from '../../src/filesystems/index.js';
import {
  faults,
  fillAndHollow,
  hasE2fsprogs,
  inMemory,
  judge,
  makeFilesystem,
} from '../support/filesystems/e2fsprogs.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const folder = await temporaryFolder();

const EXT4 =
  'has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize,sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr';
const UNINIT = 'extent,flex_bg,uninit_bg,sparse_super,filetype,resize_inode,^metadata_csum,^64bit';
const SIZES = [3000, 120_000, 700_000, 40_000, 2_500_000, 9000, 512, 300_000, 64_000, 1_000_000];

/** What it is, how large, how it is made, and what it is then called. */
const CASES: readonly [string, string, readonly string[], string][] = [
  ['ext2, 1 KiB', '24M', ['-t', 'ext2', '-b', '1024', '-O', 'none,sparse_super,filetype'], 'ext2'],
  ['ext2 without features', '24M', ['-t', 'ext2', '-b', '1024', '-r', '0'], 'ext2'],
  ['ext2, 4 KiB', '200M', ['-b', '4096', '-O', 'none,sparse_super,filetype,resize_inode'], 'ext2'],
  ['ext3, 1 KiB', '40M', ['-b', '1024', '-O', 'none,has_journal,sparse_super,filetype,resize_inode'], 'ext3'],
  ['ext3, 4 KiB', '200M', ['-b', '4096', '-O', 'none,has_journal,sparse_super,filetype'], 'ext3'],
  ['ext4 as it is by default', '300M', ['-b', '4096', '-O', `none,${EXT4}`], 'ext4'],
  ['ext4, 1 KiB', '64M', ['-b', '1024', '-O', `none,${EXT4}`], 'ext4'],
  ['ext4, 2 KiB, many groups', '100M', ['-b', '2048', '-g', '2048', '-O', `none,${EXT4}`], 'ext4'],
  ['ext4, 64 KiB', '256M', ['-b', '65536', '-O', `none,${EXT4}`], 'ext4'],
  ['ext4, 32-bit, checksums', '64M', ['-b', '1024', '-O', `none,${EXT4},^64bit`], 'ext4'],
  ['ext4 with CRC-16 alone', '64M', ['-b', '1024', '-O', `none,${UNINIT}`], 'ext4'],
  ['ext4 with CRC-16 and 64 bits', '64M', ['-b', '1024', '-O', `none,${UNINIT},64bit`], 'ext4'],
  ['ext4 without flex_bg', '64M', ['-b', '1024', '-O', `none,${EXT4},^flex_bg`], 'ext4'],
  ['ext4 without checksums', '64M', ['-b', '1024', '-O', `none,${EXT4},^metadata_csum,^uninit_bg`], 'ext4'],
  [
    'ext4 with meta_bg',
    '100M',
    ['-b', '1024', '-g', '1024', '-O', `none,${EXT4},^resize_inode,meta_bg`],
    'ext4',
  ],
  [
    'ext4 with meta_bg, 4 KiB',
    '300M',
    ['-b', '4096', '-g', '512', '-O', `none,${EXT4},^resize_inode,meta_bg,^flex_bg`],
    'ext4',
  ],
  [
    'ext4 with sparse_super2',
    '100M',
    ['-b', '1024', '-O', `none,${EXT4},^resize_inode,sparse_super2`],
    'ext4',
  ],
  [
    'ext4 with one backup',
    '100M',
    ['-b', '1024', '-E', 'num_backup_sb=1', '-O', `none,${EXT4},^resize_inode,sparse_super2`],
    'ext4',
  ],
  [
    'ext4 with clusters of 16 KiB',
    '200M',
    ['-b', '1024', '-C', '16384', '-O', `none,${EXT4},bigalloc,^resize_inode`],
    'ext4',
  ],
  [
    'ext4 with clusters of 64 KiB',
    '512M',
    ['-b', '4096', '-C', '65536', '-O', `none,${EXT4},bigalloc,^resize_inode`],
    'ext4',
  ],
  ['ext4 with a small last group', '65M', ['-b', '1024', '-O', `none,${EXT4}`], 'ext4'],
  ['ext4 with few inodes', '128M', ['-b', '4096', '-N', '64', '-O', `none,${EXT4}`], 'ext4'],
];

describe.runIf(hasE2fsprogs)('the used blocks are those that dumpe2fs does not call free:', () => {
  it.each(CASES)('%s', async (name, size, options, kind) => {
    const image = join(folder, 'image');
    makeFilesystem(image, size, [...options, '-L', 'a label', '-U', '6f1c2d0e-5a77-4b6e-9d0a-2f0b7f3c9e11']);
    for (const isFilled of [false, true]) {
      if (isFilled) fillAndHollow(folder, image, SIZES);
      expect(faults(image), name).toBe('');
      const device = await inMemory(image);
      const { ranges, found } = await usedRanges(device, { holes: 'counted' });
      expect(found).toEqual([
        {
          kind,
          offsetBytes: 0,
          lengthBytes: device.size,
          uuid: '6f1c2d0e-5a77-4b6e-9d0a-2f0b7f3c9e11',
          label: 'a label',
          usedBytes: ranges.totalBytes,
          needsRecovery: false,
          committedSequence: null,
          isTrusted: true,
          why: null,
        },
      ]);
      const { blockBytes, blocks, free } = judge(image);
      const expected = new RangeSet([{ start: 0, end: device.size }]);
      for (const { start, end } of free.list()) expected.remove(start * blockBytes, end * blockBytes);
      expect(free.totalBytes).toBeGreaterThan(blocks / 4);
      expect(ranges.list()).toEqual(expected.list());
    }
  });
});

describe.runIf(hasE2fsprogs)('of a terabyte that is almost empty, under 5% of what is used is read:', () => {
  it.each([
    ['as it is by default', []],
    ['with few inodes, so that little is used', ['-T', 'largefile4', '-N', '8192']],
  ])('%s', async (_name, options) => {
    const image = join(folder, 'large');
    makeFilesystem(image, '1T', [
      '-b',
      '4096',
      '-O',
      `none,${EXT4}`,
      '-E',
      'lazy_itable_init=1',
      '-J',
      'size=64',
      ...options,
    ]);
    const { blockBytes, blocks, free } = judge(image);
    const device = await openImage(image, { readOnly: true });
    try {
      const { ranges, readBytes, found } = await usedRanges(device, { holes: 'counted' });
      expect(found).toMatchObject([{ isTrusted: true, why: null }]);
      expect(ranges.totalBytes).toBe((blocks - free.totalBytes) * blockBytes);
      expect(readBytes).toBeLessThan(ranges.totalBytes * 0.05);
      // Descriptors of 8192 groups, and next to nothing else.
      expect(readBytes).toBeLessThan(1024 * 1024);
      expect((await usedRanges(device)).ranges.totalBytes).toBeLessThan(128 * 1024 ** 2);
    } finally {
      await device.close();
    }
  });
});
