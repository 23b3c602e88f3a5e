import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Geometry, LAYOUTS, layoutName, layoutNumber } from '../../src/raid/geometry.js';
import { seeded } from '../support/seed.js';

const shape = fc.record({
  layout: fc.integer({ min: 0, max: 5 }),
  chunkBytes: fc.constantFrom(4096, 65536, 1 << 20),
  raidDisks: fc.integer({ min: 3, max: 64 }),
  stripes: fc.integer({ min: 1, max: 200 }),
});

function geometry(of: { layout: number; chunkBytes: number; raidDisks: number; stripes: number }): Geometry {
  return new Geometry({ ...of, memberSizeBytes: of.stripes * of.chunkBytes });
}

/**
 * The rows of the tables in md(4), for four members: P is parity, numbers count the array's chunks.
 */
const TABLES: Record<(typeof LAYOUTS)[number], string[]> = {
  'left-asymmetric': ['0 1 2 P', '3 4 P 5', '6 P 7 8', 'P 9 10 11', '12 13 14 P'],
  'right-asymmetric': ['P 0 1 2', '3 P 4 5', '6 7 P 8', '9 10 11 P', 'P 12 13 14'],
  'left-symmetric': ['0 1 2 P', '4 5 P 3', '8 P 6 7', 'P 9 10 11', '12 13 14 P'],
  'right-symmetric': ['P 0 1 2', '5 P 3 4', '7 8 P 6', '9 10 11 P', 'P 12 13 14'],
  'parity-first': ['P 0 1 2', 'P 3 4 5', 'P 6 7 8', 'P 9 10 11', 'P 12 13 14'],
  'parity-last': ['0 1 2 P', '3 4 5 P', '6 7 8 P', '9 10 11 P', '12 13 14 P'],
};

describe('geometry', () => {
  it.each(LAYOUTS)('%s puts chunks where md puts them', (layout) => {
    const g = geometry({ layout: layoutNumber(layout)!, chunkBytes: 4096, raidDisks: 4, stripes: 5 });
    const rows = Array.from({ length: 5 }, (_, stripe) => {
      const row = new Array<string>(4).fill('?');
      row[g.parityMember(stripe)] = 'P';
      for (let d = 0; d < 3; d++) row[g.dataMember(stripe, d)] = String(stripe * 3 + d);
      return row.join(' ');
    });
    expect(rows).toEqual(TABLES[layout]);
    expect(layoutName(layoutNumber(layout)!)).toBe(layout);
  });

  it('gives every slot of a stripe one chunk, and back', () => {
    fc.assert(
      fc.property(shape, fc.nat(), (s, pick) => {
        const g = geometry(s);
        const stripe = pick % s.stripes;
        const slots = [g.parityMember(stripe)];
        for (let d = 0; d < g.dataDisks; d++) {
          const slot = g.dataMember(stripe, d);
          expect(g.dataIndexOf(stripe, slot)).toBe(d);
          slots.push(slot);
        }
        expect(g.dataIndexOf(stripe, slots[0]!)).toBeNull();
        expect([...slots].sort((a, b) => a - b)).toEqual(Array.from({ length: s.raidDisks }, (_, i) => i));
      }),
      seeded(),
    );
  });

  it('cuts any range into pieces that cover it, each in one chunk, and finds the way back', () => {
    fc.assert(
      fc.property(
        shape,
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.integer({ min: 1, max: 5_000_000 }),
        (s, at, want) => {
          const g = geometry(s);
          const offset = Math.floor(at * (g.arraySizeBytes - 1));
          const length = Math.min(want, g.arraySizeBytes - offset);
          let next = offset;
          for (const piece of g.pieces(offset, length)) {
            expect(piece.arrayOffset).toBe(next);
            expect(Math.floor(piece.offsetInData / s.chunkBytes)).toBe(piece.stripe);
            expect(Math.floor((piece.offsetInData + piece.length - 1) / s.chunkBytes)).toBe(piece.stripe);
            expect(g.arrayOffsetOf(piece.slot, piece.offsetInData)).toBe(piece.arrayOffset);
            next += piece.length;
          }
          expect(next).toBe(offset + length);
        },
      ),
      seeded({ numRuns: 60 }),
    );
  });

  it('leaves what is no whole chunk at the end unused, as md does', () => {
    const g = new Geometry({ layout: 2, chunkBytes: 65536, raidDisks: 4, memberSizeBytes: 65536 * 3 + 4096 });
    expect(g.stripes).toBe(3);
    expect(g.arraySizeBytes).toBe(65536 * 9);
  });
});
