/** Filesystems in partitions, tables that are damaged or in doubt, and holes. */
import { describe, expect, it } from 'vitest';
import { RangeSet } from '../../src/device/range-set.js';
import { usedRanges } from '../../src/filesystems/index.js';
import { deviceWith, fixture } from '../support/filesystems/fixtures.js';
import { gpt, mbrSector, type Piece } from '../support/filesystems/tables.js';

const MIB = 1024 * 1024;
const SIZE = 128 * MIB;
const plain = fixture('plain');
const bare = fixture('bare');
const SECTORS = plain.bytes.byteLength / 512;

/** All but what these filesystems, which lie there, call free. */
function allBut(...there: readonly { at: number; used: RangeSet; size: number }[]): RangeSet {
  const all = new RangeSet([{ start: 0, end: SIZE }]);
  for (const { at, used, size } of there) {
    all.remove(at, at + size);
    for (const { start, end } of used.list()) all.add(at + start, at + end);
  }
  return all;
}

const plainAt = (at: number) => ({ at, used: plain.used, size: plain.bytes.byteLength });
const bareAt = (at: number) => ({ at, used: bare.used, size: bare.bytes.byteLength });
const plainPiece = (at: number): Piece => ({ at, bytes: plain.bytes });
const barePiece = (at: number): Piece => ({ at, bytes: bare.bytes });

async function answer(pieces: readonly Piece[], blockSize?: number) {
  return usedRanges(await deviceWith(SIZE, pieces, blockSize), { holes: 'counted' });
}

describe('partitions', () => {
  it('of an MBR, primary and logical, with room behind a filesystem', async () => {
    const first = 2048;
    const extended = first + SECTORS + 64;
    const second = extended + 2 * SECTORS;
    const logical = (next: number): Buffer =>
      mbrSector([
        { start: 63, sectors: SECTORS + 8 },
        ...(next === 0 ? [] : [{ type: 5, start: next, sectors: SECTORS + 100 }]),
      ]);
    const { ranges, found } = await answer([
      {
        at: 0,
        bytes: mbrSector([
          { start: first, sectors: SECTORS },
          { type: 5, start: extended, sectors: 4 * SECTORS },
        ]),
      },
      plainPiece(first * 512),
      { at: extended * 512, bytes: logical(second - extended) },
      barePiece((extended + 63) * 512),
      { at: second * 512, bytes: logical(0) },
      plainPiece((second + 63) * 512),
    ]);
    expect(found.map(({ kind, isTrusted }) => [kind, isTrusted])).toEqual([
      ['mbr', true],
      ['ext4', true],
      ['ext2', true],
      ['ext4', true],
    ]);
    const expected = allBut(
      plainAt(first * 512),
      bareAt((extended + 63) * 512),
      plainAt((second + 63) * 512),
    );
    expect(ranges.list()).toEqual(expected.list());
    expect(found.reduce((sum, { usedBytes }) => sum + usedBytes, 0)).toBe(ranges.totalBytes);
  });

  it.each([512, 4096])('of a GPT with sectors of %i bytes, and of its backup', async (sectorBytes) => {
    const start = (2 * MIB) / sectorBytes;
    const length = plain.bytes.byteLength / sectorBytes;
    const table = gpt(sectorBytes, SIZE / sectorBytes, [{ start, sectors: length }]);
    const expected = allBut(plainAt(2 * MIB)).list();
    const good = await answer([...table, plainPiece(2 * MIB)], sectorBytes);
    expect(good.ranges.list()).toEqual(expected);
    expect(good.found.map(({ kind }) => kind)).toEqual(['gpt', 'ext4']);
    for (const damaged of [[1], [2], [3], [4]]) {
      const pieces = table.filter((_, i) => !damaged.includes(i));
      const { ranges, found } = await answer([...pieces, plainPiece(2 * MIB)], sectorBytes);
      // The other table counts; without its own entries a header is as good as none.
      expect(
        found.map(({ isTrusted }) => isTrusted),
        `without ${damaged}`,
      ).toEqual([true, true]);
      expect(ranges.list()).toEqual(expected);
    }
    const { ranges, found } = await answer([table[0]!, plainPiece(2 * MIB)], sectorBytes);
    expect(found).toMatchObject([
      { kind: 'gpt', isTrusted: false, why: 'neither of the two headers of its GPT is good' },
    ]);
    expect(ranges.totalBytes).toBe(SIZE);
  });
});

describe('all is used where', () => {
  const at = 2048;
  const table = gpt(512, SIZE / 512, [{ start: at, sectors: SECTORS }]);
  const other = gpt(512, SIZE / 512, [{ start: at, sectors: SECTORS + 1 }]);
  const inMbr = mbrSector([{ start: at, sectors: SECTORS }]);
  it.each<[string, Piece[], RegExp]>([
    [
      'partitions overlap',
      [
        {
          at: 0,
          bytes: mbrSector([
            { start: at, sectors: SECTORS },
            { start: at + 8, sectors: 8 },
          ]),
        },
      ],
      /overlap/,
    ],
    [
      'one ends beyond the device',
      [{ at: 0, bytes: mbrSector([{ start: at, sectors: 2 ** 31 }]) }],
      /beyond the end/,
    ],
    [
      'the chain of logical ones is broken',
      [{ at: 0, bytes: mbrSector([{ type: 5, start: at, sectors: 4096 }]) }],
      /chain/,
    ],
    [
      'the chain of logical ones goes in a circle',
      [
        { at: 0, bytes: mbrSector([{ type: 5, start: 200_000, sectors: 4096 }]) },
        {
          at: 200_000 * 512,
          bytes: mbrSector([
            { type: 0, start: 0, sectors: 0 },
            { type: 5, start: 8, sectors: 8 },
          ]),
        },
        {
          at: 200_008 * 512,
          bytes: mbrSector([
            { type: 0, start: 0, sectors: 0 },
            { type: 5, start: 16, sectors: 8 },
          ]),
        },
        {
          at: 200_016 * 512,
          bytes: mbrSector([
            { type: 0, start: 0, sectors: 0 },
            { type: 5, start: 8, sectors: 8 },
          ]),
        },
      ],
      /chain/,
    ],
    ['both GPTs are good, and differ', [...table.slice(0, 3), ...other.slice(3)], /not the same/],
    [
      'there is an MBR with partitions, and a GPT',
      [...table.slice(1), { at: 0, bytes: inMbr }],
      /MBR with partitions, and a GPT/,
    ],
    ['there is a GPT without an MBR', table.slice(1), /no protective MBR/],
    [
      'an ext superblock lies beside an MBR',
      [plainPiece(0), { at: 0, bytes: inMbr }],
      /superblock of an ext/,
    ],
    [
      'another signature lies beside it',
      [plainPiece(0), { at: 512, bytes: Buffer.from('LABELONE'.padEnd(512, '\0')) }],
      /lvm/,
    ],
    ['nothing is known', [{ at: 8192, bytes: Buffer.alloc(512, 1) }], /not known/],
  ])('%s', async (_what, pieces, why) => {
    const own = pieces.some((piece) => piece.bytes === plain.bytes) ? [] : [plainPiece(at * 512)];
    const { ranges, found } = await answer([...pieces, ...own]);
    expect(found.some((each) => !each.isTrusted && why.test(each.why!))).toBe(true);
    expect(ranges.list()).toEqual([{ start: 0, end: SIZE }]);
  });

  it('its filesystem is cut off', async () => {
    const cut = plain.bytes.byteLength - MIB;
    const device = await deviceWith(cut, [{ at: 0, bytes: plain.bytes.subarray(0, cut) }]);
    const { ranges, found } = await usedRanges(device, { holes: 'counted' });
    expect(found[0]!.why).toMatch(/more than there is room for/);
    expect(ranges.totalBytes).toBe(cut);
  });
});

it('holes are left out of what is used, unless they are to be counted', async () => {
  const device = await deviceWith(SIZE, [plainPiece(0)]);
  const { ranges } = await usedRanges(device);
  const counted = allBut(plainAt(0));
  const expected = new RangeSet();
  for (const { offset, length, kind } of await device.extents(0, SIZE)) {
    if (kind === 'data')
      for (const { start, end } of counted.within(offset, offset + length)) expected.add(start, end);
  }
  expect(ranges.list()).toEqual(expected.list());
  expect(ranges.totalBytes).toBeLessThan(counted.totalBytes / 10);
  expect((await usedRanges(device, { holes: 'counted' })).ranges.list()).toEqual(counted.list());
});
