/**
 * Filesystems that need recovery: what usedRanges sees through their journal, beside what e2fsck makes of it.
 */
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { RangeSet } from '../../src/device/range-set.js';
import { usedRanges } from '../../src/filesystems/index.js';
import { hasE2fsprogs, inMemory, judge, replay } from '../support/filesystems/e2fsprogs.js';
import { turnLog } from '../support/filesystems/journal-images.js';
import { makeJournaled } from '../support/filesystems/journaled.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const folder = await temporaryFolder();
const EXT4 = 'none,has_journal,extent,flex_bg,metadata_csum,sparse_super,filetype,resize_inode,large_file';

const CASES: readonly [string, readonly string[], string][] = [
  ['ext3: no checksums, lists of blocks', ['-b', '1024', '-O', 'none,has_journal,sparse_super,filetype'], ''],
  ['checksums of version 3', ['-b', '1024', '-O', EXT4], '-c -v 3'],
  ['checksums of version 2', ['-b', '1024', '-O', EXT4], '-c -v 2'],
  ['checksums of version 3, 64 bits', ['-b', '1024', '-O', `${EXT4},64bit`], '-c -v 3'],
  ['checksums of version 2, 64 bits', ['-b', '1024', '-O', `${EXT4},64bit`], '-c -v 2'],
  ['no checksums in the journal, 64 bits', ['-b', '1024', '-O', `${EXT4},64bit`], ''],
  ['blocks of 2 KiB', ['-b', '2048', '-g', '4096', '-O', EXT4], '-c -v 3'],
];

describe.runIf(hasE2fsprogs)('a journal is replayed in memory as e2fsck replays it:', () => {
  it.each(CASES)('%s', async (_name, mke2fs, open) => {
    const image = join(folder, 'image');
    makeJournaled(folder, image, { size: '48M', mke2fs, open });
    const turned = join(folder, 'turned');
    for (const way of ['as it is', 'around the end of the journal'] as const) {
      const subject = way === 'as it is' ? image : turned;
      if (subject === turned) turnLog(image, turned);
      const device = await inMemory(subject);
      const before = judge(subject);
      const replayed = join(folder, 'replayed');
      copyFileSync(subject, replayed);
      replay(replayed);
      const { blockBytes, free } = judge(replayed);
      const { ranges, found } = await usedRanges(device, { holes: 'counted' });
      expect(found, way).toMatchObject([
        { isTrusted: true, why: null, needsRecovery: true, committedSequence: 4 },
      ]);
      const expected = new RangeSet([{ start: 0, end: device.size }]);
      for (const { start, end } of free.list()) expected.remove(start * blockBytes, end * blockBytes);
      expect(ranges.list(), way).toEqual(expected.list());
      // What its own bitmaps call free was not.
      const late = before.free
        .list()
        .flatMap(({ start, end }) => ranges.within(start * blockBytes, end * blockBytes));
      expect(late.length, way).toBeGreaterThan(0);
    }
  });
});
