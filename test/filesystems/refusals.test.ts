/** What is sound and all the same not read here: it is said, and all of it counts as used. */
import { crc32c } from '@node-rs/crc32';
import { expect, it } from 'vitest';
import { usedRanges } from '../../src/filesystems/index.js';
import { deviceWith, type FixtureName, fixture } from '../support/filesystems/fixtures.js';
import { sealJournal } from '../support/filesystems/journal-images.js';

const JOURNAL_HEAD = Buffer.from([0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 4]);

/** Changes a fixture's superblock and that of its journal; both are sealed anew. */
async function changed(name: FixtureName, change: (superblock: Buffer, journal: Buffer) => void) {
  const { bytes } = fixture(name);
  const superblock = bytes.subarray(1024, 2048);
  const journal = bytes.subarray(bytes.indexOf(JOURNAL_HEAD));
  change(superblock, journal);
  superblock.writeUInt32LE(~crc32c(superblock.subarray(0, 1020)) >>> 0, 1020);
  sealJournal(journal);
  const device = await deviceWith(bytes.byteLength, [{ at: 0, bytes }]);
  const { ranges, found } = await usedRanges(device, { holes: 'counted' });
  return { all: ranges.totalBytes === bytes.byteLength, found: found[0]! };
}

const or = (bytes: Buffer, at: number, bits: number): void => {
  bytes.writeUInt32LE((bytes.readUInt32LE(at) | bits) >>> 0, at);
};

const CASES: readonly [string, FixtureName, (superblock: Buffer, journal: Buffer) => void, RegExp][] = [
  ['an unknown incompatible feature', 'plain', (sb) => or(sb, 96, 0x4000_0000), /incompat features/],
  ['an unknown feature for readers', 'plain', (sb) => or(sb, 100, 0x8000_0000), /ro_compat features/],
  ['an unknown compatible feature', 'plain', (sb) => or(sb, 92, 0x8000_0000), /compat features/],
  ['errors that were found', 'plain', (sb) => sb.writeUInt16LE(3, 58), /errors were found/],
  [
    'no clean unmount, and no journal to replay',
    'plain',
    (sb) => sb.writeUInt16LE(0, 58),
    /not been unmounted/,
  ],
  ['an external journal', 'plain', (sb) => sb.writeUInt32LE(0, 224), /another device/],
  [
    'a log without the flag',
    'journal',
    (sb) => sb.writeUInt32LE(sb.readUInt32LE(96) & ~4, 96),
    /is not empty/,
  ],
  ['sums of version 1', 'journal', (_, log) => log.writeUInt32BE(1, 36), /version 1/],
  ['commits without barriers', 'journal', (_, log) => log.writeUInt32BE(0x16, 40), /without barriers/],
  [
    'an unknown feature of the journal',
    'journal',
    (_, log) => log.writeUInt32BE(0x112, 40),
    /features that are not known/,
  ],
  ['a journal that was given up', 'journal', (_, log) => log.writeInt32BE(-5, 32), /given up/],
  [
    'fast commits with content',
    'journal',
    (_, log) => {
      log.writeUInt32BE(0x32, 40);
      log.writeUInt32BE(64, 84);
      const area = (log.readUInt32BE(16) - 64) * 1024;
      log.writeUInt16LE(9, area);
      log.writeUInt16LE(8, area + 2);
      log.writeUInt32LE(log.readUInt32BE(24) + 2, area + 8);
    },
    /fast commits/,
  ],
];

it.each(CASES)('%s', async (_what, name, change, why) => {
  const { all, found } = await changed(name, change);
  expect(found.isTrusted).toBe(false);
  expect(found.why).toMatch(why);
  expect(all).toBe(true);
});

it('fast commits of a transaction that is in the log as a whole are stale, and no matter', async () => {
  const { found } = await changed('journal', (_, log) => {
    log.writeUInt32BE(0x32, 40);
    log.writeUInt32BE(64, 84);
    const area = (log.readUInt32BE(16) - 64) * 1024;
    log.writeUInt16LE(9, area);
    log.writeUInt16LE(8, area + 2);
    log.writeUInt32LE(log.readUInt32BE(24), area + 8);
  });
  expect(found).toMatchObject({ isTrusted: true, why: null, needsRecovery: true });
});
