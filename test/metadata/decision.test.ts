/** The decision of a commit (data journaling, paragraphs 32, 33 and 36), by table and over all small extents. */
import { describe, expect, it } from 'vitest';
import { countBits, isEmpty, isEqual, union, without } from '../../src/metadata/bits.js';
import { decide, type ExtentState, keptBlocks, usedAfter } from '../../src/metadata/decision.js';
import { ALL, bits, NONE } from './support/stage.js';

const plain = { marked: NONE, cleared: NONE, used: NONE, hasData: true, isShared: false };

describe('the decision:', () => {
  it.each<[string, Partial<ExtentState>, 'swap' | 'commit']>([
    [
      'paragraph 33: more marked than used and not marked',
      { marked: bits(0, 1, 2), used: bits(2, 3, 4) },
      'swap',
    ],
    ['paragraph 36: as many', { marked: bits(0, 1), used: bits(3, 4) }, 'commit'],
    ['paragraph 36: fewer', { marked: bits(1), used: bits(1, 3, 4) }, 'commit'],
    [
      'figure 4: blocks 1, 2, 3, 4 and 6 of a full extent',
      { marked: bits(1, 2, 3, 4, 6), used: ALL },
      'swap',
    ],
    ['nothing used yet', { marked: bits(7) }, 'swap'],
    ['no data extent', { marked: bits(7), hasData: false }, 'swap'],
    ['a shared one is never written home', { marked: bits(1), used: ALL, isShared: true }, 'swap'],
    ['of a shared one blocks are cleared', { cleared: bits(1), used: ALL, isShared: true }, 'swap'],
    ['a shared one is cleared whole', { cleared: ALL, used: bits(1, 2), isShared: true }, 'commit'],
    ['of a shared one nothing is touched', { cleared: bits(4), used: bits(1, 2), isShared: true }, 'commit'],
    ['what is cleared is not kept', { marked: bits(0), cleared: bits(1, 2), used: bits(0, 1, 2) }, 'swap'],
    ['only cleared', { cleared: bits(1), used: ALL }, 'commit'],
    ['a hole is cleared', { cleared: bits(1), hasData: false }, 'commit'],
    ['nothing at all', { used: ALL }, 'commit'],
  ])('%s', (_what, state, decision) => {
    expect(decide({ ...plain, ...state })).toBe(decision);
  });

  it('over every extent of three blocks it writes the fewer blocks, and none that is shared', () => {
    let seen = 0;
    for (let number = 0; number < 2 ** 11; number++) {
      const three = (shift: number) => new Uint8Array([(number >> shift) & 7]);
      const [marked, cleared, used] = [three(0), three(3), three(6)];
      const hasData = ((number >> 9) & 1) === 1;
      const isShared = hasData && number >> 10 === 1;
      if ((marked[0]! & cleared[0]!) !== 0 || (!hasData && !isEmpty(used))) continue;
      seen += 1;
      const state = { marked, cleared, used, hasData, isShared };
      const kept = keptBlocks(state);
      const decision = decide(state);
      // Before, copied blocks are what the decision costs.
      if (!isShared && hasData) {
        expect(
          decision === 'swap' ? countBits(kept) < countBits(marked) : countBits(marked) <= countBits(kept),
        ).toBe(true);
      }
      if (decision === 'commit' && (isShared || !hasData)) {
        expect(isEmpty(marked)).toBe(true);
        // What is left of the data extent is all of it or nothing: the map can say that without a copy.
        expect(isEmpty(usedAfter(state)) || isEqual(usedAfter(state), used)).toBe(true);
      }
      expect(isEqual(usedAfter(state), union(kept, marked))).toBe(true);
      expect(isEqual(without(kept, used), new Uint8Array(1))).toBe(true);
    }
    expect(seen).toBe(486);
  });
});
