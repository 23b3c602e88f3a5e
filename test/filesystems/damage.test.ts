/**
 * Damage never makes fewer blocks used than there are: with checksums whatever is damaged; without them, where one bit is.
 */
import { describe, expect, it } from 'vitest';
import type { MemoryDevice } from '../../src/device/memory.js';
import type { RangeSet } from '../../src/device/range-set.js';
import { usedRanges } from '../../src/filesystems/index.js';
import { withSeed } from '../support/devices/seeded-random.js';
import { deviceWith, type FixtureName, fixture } from '../support/filesystems/fixtures.js';

const ROUNDS = 400;

/** Where metadata lies in a fixture, by its own descriptors: superblock, descriptors, bitmaps. */
function metadataOf(
  bytes: Buffer,
  descriptorBytes: number,
  groups: number,
): { at: number; length: number }[] {
  const bitmaps = Array.from({ length: groups }, (_, i) => bytes.readUInt32LE(2048 + i * descriptorBytes));
  return [
    { at: 1024, length: 1024 },
    { at: 2048, length: groups * descriptorBytes },
    ...bitmaps.map((block) => ({ at: block * 1024, length: 1024 })),
  ];
}

/** What of the journal can be damaged, by the places of its blocks, which follow one another: all but the head of its last commit. */
function logOf(bytes: Buffer): { at: number; length: number }[] {
  const superblock = bytes.indexOf(Buffer.from([0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 4]));
  const commits: number[] = [];
  const log = bytes.subarray(superblock, superblock + 1024 * 1024);
  for (let at = 1024; at < log.byteLength; at += 1024) {
    if (log.readUInt32BE(at) === 0xc03b3998 && log.readUInt32BE(at + 4) === 2) commits.push(at);
  }
  const last = commits.at(-1)!;
  return [
    { at: superblock, length: 256 },
    { at: superblock + 1024, length: last - 1024 },
    { at: superblock + last + 12, length: 1012 },
  ];
}

async function answerOf(bytes: Uint8Array) {
  return usedRanges(await deviceWith(bytes.byteLength, [{ at: 0, bytes }]), { holes: 'counted' });
}

const SECTOR = 512;

/** The answer while this bit of each of these bytes is another. */
async function answerDamaged(device: MemoryDevice, damage: readonly { place: number; bit: number }[]) {
  const flip = async () => {
    for (const { place, bit } of damage) {
      const sector = Buffer.alloc(SECTOR);
      const at = place - (place % SECTOR);
      await device.read(at, sector);
      sector[place - at]! ^= 1 << bit;
      await device.write(at, sector);
    }
  };
  await flip();
  const answer = await usedRanges(device, { holes: 'counted' });
  await flip();
  return answer;
}

function missing(truth: RangeSet, ranges: RangeSet) {
  return truth.list().flatMap(({ start, end }) => ranges.without(start, end));
}

describe('undamaged, a fixture is what dumpe2fs says:', () => {
  it.each<FixtureName>(['plain', 'crc16', 'bare', 'journal'])('%s', async (name) => {
    const { bytes, used } = fixture(name);
    const { ranges, found, readBytes } = await answerOf(bytes);
    expect(found).toMatchObject([
      { isTrusted: true, why: null, needsRecovery: name === 'journal', label: name },
    ]);
    // A transaction of the journal writes one block that is free in the end: it counts as used all the same.
    if (name === 'journal') {
      expect(missing(used, ranges)).toEqual([]);
      expect(ranges.totalBytes - used.totalBytes).toBe(1024);
    } else expect(ranges.list()).toEqual(used.list());
    expect(readBytes).toBeLessThan(used.totalBytes * 0.05);
  });
});

describe('damaged, nothing that is used is called free:', () => {
  it.each<[FixtureName, number, string]>([
    ['plain', 64, 'several bytes'],
    ['journal', 64, 'several bytes'],
    ['crc16', 32, 'one bit'],
    ['bare', 32, 'one bit'],
  ])('%s', async (name, descriptorBytes, how) => {
    await withSeed(async (random) => {
      const { bytes, used } = fixture(name);
      const places = metadataOf(bytes, descriptorBytes, 3);
      if (name === 'journal') places.push(...logOf(bytes));
      const device = await deviceWith(bytes.byteLength, [{ at: 0, bytes }]);
      let distrusted = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const damage = Array.from({ length: how === 'one bit' ? 1 : 1 + random.below(4) }, () => {
          const { at, length } = places[random.below(places.length)]!;
          return { place: at + random.below(length), bit: random.below(8) };
        });
        const { ranges, found } = await answerDamaged(device, damage);
        if (found[0]!.isTrusted) expect(found[0]!.why).toBeNull();
        else {
          distrusted += 1;
          expect(found[0]!.why).not.toBeNull();
          expect(ranges.totalBytes).toBe(bytes.byteLength);
        }
        expect(
          missing(used, ranges),
          `round ${round}: changed at ${damage.map(({ place, bit }) => `${place}.${bit}`)}`,
        ).toEqual([]);
      }
      expect(distrusted).toBeGreaterThan(ROUNDS / 4);
    });
  });
});
